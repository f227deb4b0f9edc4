"""Tests of the Triton kernel that need triton; .venv-triton has it (make test-triton)."""
