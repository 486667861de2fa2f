"""``strongroom jobcoin``: a node, a purse of keys, and a shell for one Jobcoin network."""
