#!/bin/sh
# mmcv 2.1.0 asks its compiler for C++17, and the headers of today's torch need
# C++20. Of several -std options the compiler takes the last.
exec c++ "$@" -std=c++20
