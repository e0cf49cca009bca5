"""Methods: one file a paper, baseline or measurement. Modules whose name starts with an underscore
hold pieces that several share.
"""
