"""The commands, a file for each thing that one does; run_bench.py wires them."""
