"""The log on a disk: packs of batches are the truth, tiles and index are derived from them (docs/formats/log-on-disk.md).

log/lock                      one writer at a time, across processes
log/envelopes/<first>.pack    batches: envelopes, leaves, tree (`batch`, `pack`)
log/tile/...                  C2SP tiles and entry bundles (`tile_writer`, `tile_files`)
log/derived                   how far tiles are derived and synced
log/signed, log/checkpoint    the newest checkpoint signed, and the newest that witnesses cosigned (`checkpoint_files`)
index.sqlite                  look-ups (`keyturn.adapters.log_on_disk.index_sqlite`)
"""
