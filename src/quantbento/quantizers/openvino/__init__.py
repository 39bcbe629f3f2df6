"""Quantizers for OpenVINO, by NNCF."""
