"""What stands below every stage: store, downloads, settings, Ray."""

import os

# Threads of a matrix product that wait in a loop for each other keep the cores from whom they wait
# for, where other work runs on the machine: 1,500 products by two threads took 163 s beside a load
# of thirty processes, and 31 s where waiting threads sleep. Read once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
