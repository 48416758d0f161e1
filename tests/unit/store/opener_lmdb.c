#include "scene.h"

enum err opener_open(struct store **store, const struct store_options *options, struct error *e) {
  return store_open(store, options, e);
}
