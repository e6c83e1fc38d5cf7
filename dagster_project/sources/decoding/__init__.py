"""Bytes as blocks of lines, elements of documents, rows of CSV and columns of Arrow. Knows no format."""
