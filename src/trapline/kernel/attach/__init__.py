"""Attaching programs: one module per mechanism; `trapline.kernel.attach.table` chooses."""
