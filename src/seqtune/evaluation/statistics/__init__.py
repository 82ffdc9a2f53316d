"""How far a sample can say something: intervals, bootstrap, agreement, corrected rates, win rates."""
