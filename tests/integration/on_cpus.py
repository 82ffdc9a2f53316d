"""The command `seqtune` where accelerate takes CPUs for devices that weights can be spread over, as torch does.

Accelerate reads a configuration of FSDP or DeepSpeed only where it finds GPUs, and trains whole models without a word
on CPUs. All that comes after that question is the same on both.
"""

from accelerate.state import PartialState
from accelerate.utils import DistributedType

found = PartialState.__init__


def find_gpus(state, *words, **options):
    found(state, *words, **options)
    if state.distributed_type is DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState.__init__ = find_gpus
    from seqtune.cli import main

    main()
