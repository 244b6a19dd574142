"""Enhance videos, folders of pictures and cameras."""
