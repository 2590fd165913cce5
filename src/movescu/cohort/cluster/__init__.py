"""Workers in other processes and on other machines, by Dask distributed: the extra ``movescu[cluster]``."""
