"""What stands below every stage: store, downloads, settings, Ray."""

import os

# Threads of a matrix product that wait in a loop for each other keep the cores from whom they wait
# for, where other work runs on the machine. GNU's OpenMP looks 300,000 times before it sleeps; with
# 10,000 looks a training step on two quiet cores takes as long as before (7.5 s; 8.7 s if it sleeps
# at once), and 1,500 small products beside six busy processes 10 s in place of 32. Read once, when
# torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
