"""Files that are not a row a line: CoNLL, brat, JSON documents; and rows that data sets lay out in their own way."""
