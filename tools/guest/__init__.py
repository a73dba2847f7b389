"""Boot Debian kernels under QEMU and run commands in them; see README.md."""
