"""Runtimes: one file each, behind one interface."""
