"""On ``PYTHONPATH`` of the Python scripts that a shell script starts; see `trapline.bcc.shell`."""
