"""python -m seqtune"""

from seqtune.cli import main

main()
