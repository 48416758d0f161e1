/* upload_piece.h - uploads that come in pieces, as tus 1.0 sends them: the file's own size is how far it has come, and
 * says the truth after kill -9 too. A piece with a checksum counts as a whole or not at all: where it began is written
 * down beside the file until it is known to be right. */
#pragma once
#include "service/upload.h"

struct upload_piece {
  struct service *service;
  const struct upload *upload;
  int fd;
  int64_t begin, offset; /* of the piece; how far it is now */
  int64_t checked;       /* room for bytes up to here was found */
  struct evp_md_ctx_st *digest;
  unsigned char wanted[64];
  size_t wanted_size;
  bool whole; /* the file is complete, and has its name */
};
/* "sha1", "sha256", "md5", comma-separated; and whether this is one of them. */
#define UPLOAD_PIECE_ALGORITHMS "sha1,sha256,md5"
bool upload_piece_knows(const char *algorithm);

/* [under the upload's lock, each] How far the upload has come; what was left by a piece that was cut off is put right.
 */
enum err upload_piece_offset(struct service *service, const struct upload *upload, int64_t *offset, struct error *e);
/* ERR_CONFLICT: the upload is elsewhere than at `offset`, or complete. algorithm NULL: no checksum; wanted: in raw
 * bytes. */
enum err upload_piece_open(struct upload_piece *piece, struct service *service, const struct upload *upload,
                           int64_t offset, const char *algorithm, const void *wanted, size_t wanted_size,
                           struct error *e);
enum err upload_piece_write(struct upload_piece *piece, const void *data, size_t size, struct error *e);
/* Makes durable what came. whole: its body ended as it should; else what has a checksum is dropped. ERR_CORRUPT: the
 * checksum does not match, nothing of the piece counts. A complete file gets its name. */
enum err upload_piece_close(struct upload_piece *piece, bool ended, struct error *e);
