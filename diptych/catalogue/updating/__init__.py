"""How the catalogue is kept up to date: drafts of new records, what changed at the sources, other lists beside ours.

Nothing here edits the catalogue: drafts, patches and differences are for people to review.
"""
