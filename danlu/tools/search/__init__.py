"""Search over a folder of documents: an index on disk, BM25, and answers that cite what they say."""
