"""How fast the queue is: ours, the floor, and the peers, side by side in one run. See docs/benchmarks/README.md."""
