"""The page of a sweep: one HTML file that opens offline and can be worked in.

`model` says what is on it, as plain JSON values, with the numbers that the terminal and the tables
have; `rendering` makes HTML of that; `vega` writes its plots as Vega-Lite and embeds what draws
them.
"""
