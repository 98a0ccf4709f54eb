"""Does it hold? Windows of real bars, candidates that continue them, and tasks made of cells that
are computed once.

``microstructure`` and ``legacy`` say which cells answer which question; ``cells`` computes what is
missing and keeps it; ``results`` joins the numbers with their nulls.
"""
