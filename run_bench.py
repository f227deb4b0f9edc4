"""alibi-bench's command line in a checkout: which backend is fastest here, and is it right?"""

from alibi_bench.__main__ import main

if __name__ == "__main__":
    main()
