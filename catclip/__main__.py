"""`python -m catclip`, for torchrun: `torchrun --nproc-per-node=4 -m catclip pretrain …`."""

from catclip.cli import main

main()
