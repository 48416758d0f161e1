/* The golden plugin, built as C and as C++: note and tables say exactly what golden/plugin.txt says.
 * usage: test_golden PLUGIN.so EXPECTED.txt WRITTEN.txt */
#include <stagemill/media.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "note.h"

static const char *word(const char *text) { return text ? text : "-"; }

static void put_params(FILE *out, const sm_param *row, const char *indent) {
  for (; row && row->name; row++) {
    fprintf(out, "%sparam %s takes=%u flags=%u fallback=%s choices=%s range=%g..%g unit=%s: %s\n", indent, row->name,
            row->takes, row->flags, word(row->fallback), word(row->choices), row->min, row->max, word(row->unit),
            word(row->summary));
    put_params(out, row->fields, "      ");
  }
}

static void put_ports(FILE *out, const char *side, const sm_port *row) {
  for (; row && row->name; row++)
    fprintf(out, "    %s %s kind=%u flags=%u types=%s: %s\n", side, row->name, row->kind, row->flags, word(row->types),
            word(row->summary));
}

static void put_stage(FILE *out, const sm_stage *s) {
  fprintf(out, "  stage %s kind=%u flags=%u capabilities=%s run=%d media=%d plan=%d: %s\n", s->name, s->kind, s->flags,
          word(s->capabilities), s->run != NULL, s->media != NULL, s->plan != NULL, word(s->summary));
  if (s->media)
    fprintf(out, "    ops complete=%d flags=%u stream=%d format=%d nothing_before=%d\n",
            s->media->size == sizeof *s->media, s->media->flags, s->media->stream_size == sizeof(sm_stream),
            s->media->format != NULL, s->media->nothing_before != NULL);
  put_params(out, s->params, "    ");
  put_ports(out, "input", s->inputs);
  put_ports(out, "output", s->outputs);
  for (const sm_result *r = s->results; r && r->key; r++)
    fprintf(out, "    result %s type=%u available=%u flags=%u unit=%s: %s\n", r->key, r->type, r->available, r->flags,
            word(r->unit), word(r->summary));
}

static void put_all(FILE *out, const sm_note *note, const sm_plugin *p) {
  fprintf(out, "note owner=%s(%u) type=%u body=%u abi=%u.%u lowest=%u reserved=%u id=%s\n", note->owner,
          note->owner_size, note->type, note->desc_size, note->abi_major, note->abi_minor, note->lowest_host_minor,
          note->reserved, note->id);
  fprintf(out, "note libav=%d packets=%d\n", note->avutil_version == LIBAVUTIL_VERSION_INT, note->avcodec_version != 0);
  fprintf(out, "plugin complete=%d abi=%u.%u lowest=%u strides=%d %s %s %s\n", p->size == sizeof *p, p->abi_major,
          p->abi_minor, p->lowest_host_minor,
          p->stage_size == sizeof(sm_stage) && p->param_size == sizeof(sm_param) && p->port_size == sizeof(sm_port) &&
            p->result_size == sizeof(sm_result),
          p->id, p->version, p->license);
  for (const sm_stage *s = p->stages; s->name; s++) put_stage(out, s);
}

static int same_files(const char *a, const char *b) {
  char command[2048];
  snprintf(command, sizeof command, "diff -u '%s' '%s'", a, b);
  return system(command) == 0;
}

int main(int argc, char **argv) {
  sm_note note;
  if (argc != 4) return 2;
  if (!note_read(argv[1], &note)) return printf("%s has no .note.stagemill\n", argv[1]), 1;
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) return printf("%s\n", dlerror()), 1;
  const sm_plugin *plugin = dlsym(library, "stagemill_plugin");
  FILE *out = fopen(argv[3], "w");
  if (!plugin || !out) return 1;
  put_all(out, &note, plugin);
  fclose(out);
  if (same_files(argv[2], argv[3])) return 0;
  printf(
    "The plugin does not come out as frozen. Rows that a 1.0 plugin wrote must mean the same for ever; only `abi=`\n"
    "(and nothing else) changes with SM_ABI_MINOR: then copy the new text to tests/unit/sdk/golden/plugin.txt.\n");
  return 1;
}
