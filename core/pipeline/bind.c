/* Who feeds which input port: what `inputs:` says, else the nearest earlier stage that fits, else the job's input. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/build.h"

struct binder {
  struct build *b;
  size_t index;
  struct pipeline_stage *stage;
  const struct node *node;
};

static bool is_frames(const struct port_type *port) {
  return port->kind == SM_PORT_VIDEO || port->kind == SM_PORT_AUDIO;
}

/* A type pattern that files of this kind of media meet. */
static bool names_media(const struct port_type *port, const char *kind) {
  size_t n = strlen(kind);
  for (size_t i = 0; i < port->type_count; i++)
    if (strcmp(port->types[i], "*/*") == 0 || (strncmp(port->types[i], kind, n) == 0 && port->types[i][n] == '/'))
      return true;
  return false;
}

/* Can the job's input arrive here? It is media, of a type that is known only when it is opened. */
static bool takes_input(const struct port_type *port) {
  if (is_frames(port)) return true;
  if (port->kind != SM_PORT_ARTIFACT) return false;
  return port->type_count == 0 || names_media(port, "video") || names_media(port, "audio");
}

/* Frames can be decoded from a file that another stage made. */
static bool decodable(const struct port_type *output, const struct port_type *input) {
  if (output->kind != SM_PORT_ARTIFACT || !is_frames(input)) return false;
  return names_media(output, "video") || (input->kind == SM_PORT_AUDIO && names_media(output, "audio"));
}

static bool fits(const struct port_type *output, const struct port_type *input, bool by_name) {
  bool several = (output->flags & SM_PORT_MANY) && !(input->flags & SM_PORT_MANY);
  if (several) return false;
  return port_types_match(output, input) || (by_name && decodable(output, input));
}

static void bind(struct binder *r, const struct port_type *port, enum producer_kind kind, size_t stage,
                 const struct port_type *output) {
  struct pipeline_stage *s = r->stage;
  s->bindings = mem_grow(s->bindings, s->binding_count + 1, sizeof *s->bindings);
  s->bindings[s->binding_count++] = (struct binding){port, kind, stage, output};
  if (kind != PRODUCER_STAGE) return;
  after_add(s, stage);
  if (!output || output->kind != SM_PORT_ARTIFACT) r->b->stage_read[stage] = true;
}

/* The job's input, or what the last earlier stage puts in its place. */
static void bind_source(struct binder *r, const struct port_type *port, bool by_name) {
  for (size_t i = r->index; i-- > 0 && !by_name;) {
    const struct stage_type *type = r->b->p->stages[i].type;
    for (size_t o = 0; type && o < type->output_count; o++)
      if (type->outputs[o].flags & SM_PORT_SOURCE) {
        bind(r, port, PRODUCER_STAGE, i, &type->outputs[o]);
        return;
      }
  }
  bind(r, port, PRODUCER_SOURCE, SIZE_MAX, NULL);
}

/* ---- one stage as producer -------------------------------------------------------------------------------------- */

static size_t fitting(const struct stage_type *type, const struct port_type *port, bool by_name,
                      const struct port_type *found[2]) {
  size_t n = 0;
  for (size_t o = 0; type && o < type->output_count; o++)
    if (fits(&type->outputs[o], port, by_name)) {
      if (n < 2) found[n] = &type->outputs[o];
      n++;
    }
  return n;
}

/* All artifacts of a stage that a port for many takes: one binding when that is everything it makes. */
static bool bind_all(struct binder *r, const struct port_type *port, size_t producer) {
  const struct stage_type *type = r->b->p->stages[producer].type;
  size_t artifacts = 0, matching = 0;
  for (size_t o = 0; type && o < type->output_count; o++) {
    if (type->outputs[o].kind != SM_PORT_ARTIFACT) continue;
    artifacts++;
    matching += fits(&type->outputs[o], port, false);
  }
  if (!matching) return false;
  if (matching == artifacts) return bind(r, port, PRODUCER_STAGE, producer, NULL), true;
  for (size_t o = 0; o < type->output_count; o++)
    if (type->outputs[o].kind == SM_PORT_ARTIFACT && fits(&type->outputs[o], port, false))
      bind(r, port, PRODUCER_STAGE, producer, &type->outputs[o]);
  return true;
}

/* Binds when exactly one output fits; two are an error that names both. False: none fits. */
static bool bind_one(struct binder *r, const struct port_type *port, size_t producer, const struct node *at,
                     bool by_name) {
  const struct pipeline_stage *other = &r->b->p->stages[producer];
  const struct port_type *found[2];
  bool many = port->kind == SM_PORT_ARTIFACT && (port->flags & SM_PORT_MANY);
  if (many) return bind_all(r, port, producer);
  size_t n = fitting(other->type, port, by_name, found);
  if (n > 1) {
    mem_auto char *hint = mem_format("write `inputs: { %s: %s.%s }` or `%s.%s`", port->name, other->id, found[0]->name,
                                     other->id, found[1]->name);
    node_problem(r->b->report, PROBLEM_ERROR, at, hint, "port `%s` of stage `%s` can read `%s.%s` as well as `%s.%s`",
                 port->name, r->stage->id, other->id, found[0]->name, other->id, found[1]->name);
  }
  if (n) bind(r, port, PRODUCER_STAGE, producer, found[0]);
  return n > 0;
}

/* ---- defaults --------------------------------------------------------------------------------------------------- */

static bool needed(const struct pipeline_stage *stage, size_t other) {
  for (size_t i = 0; i < stage->needs_count; i++)
    if (stage->needs[i] == other) return true;
  return false;
}

/* `needs` of several stages delivers all their artifacts. */
static bool bind_needed(struct binder *r, const struct port_type *port) {
  bool any = false;
  for (size_t i = 0; i < r->stage->needs_count; i++) any |= bind_all(r, port, r->stage->needs[i]);
  return any;
}

static bool bind_earlier(struct binder *r, const struct port_type *port, bool only_needed) {
  for (size_t i = r->index; i-- > 0;) {
    if (only_needed && !needed(r->stage, i)) continue;
    if (bind_one(r, port, i, r->node, false)) return true;
  }
  return false;
}

static void no_producer(struct binder *r, const struct port_type *port) {
  buf_auto struct buf types = {0};
  for (size_t i = 0; i < port->type_count; i++) buf_format(&types, "%s%s", i ? ", " : "", port->types[i]);
  if (!port->type_count) buf_text(&types, port->kind == SM_PORT_PACKETS ? "encoded packets" : "files");
  mem_auto char *hint =
      mem_format("put a stage that makes it before this one, or write `inputs: { %s: STAGE.PORT }`%s", port->name,
                 port->kind == SM_PORT_ARTIFACT ? ", with `source` for the job's input" : "");
  node_problem(r->b->report, PROBLEM_ERROR, r->node, hint,
               "port `%s` of stage `%s` has nothing to read: no %s makes %s", port->name, r->stage->id,
               r->stage->needs_count ? "stage that it needs" : "earlier stage", buf_string(&types));
}

static void bind_default(struct binder *r, const struct port_type *port) {
  bool many = port->kind == SM_PORT_ARTIFACT && (port->flags & SM_PORT_MANY);
  if (port->flags & SM_PORT_SOURCE) return bind_source(r, port, false);
  if (is_frames(port)) {
    if (!bind_earlier(r, port, false)) bind_source(r, port, false);
    return;
  }
  if (many && r->stage->needs_count) {
    if (!bind_needed(r, port) && !(port->flags & SM_PORT_OPTIONAL)) no_producer(r, port);
    return;
  }
  if (r->stage->needs_count && bind_earlier(r, port, true)) return;
  if (bind_earlier(r, port, false)) return;
  if (takes_input(port))
    bind_source(r, port, false);
  else if (!(port->flags & SM_PORT_OPTIONAL))
    no_producer(r, port);
}

/* ---- inputs: {port: ...} ---------------------------------------------------------------------------------------- */

static void unknown_output(struct binder *r, const struct node *node, size_t producer, const char *name) {
  const struct pipeline_stage *other = &r->b->p->stages[producer];
  const char *names[256];
  size_t n = 0;
  for (; n < other->type->output_count && n < 256; n++) names[n] = other->type->outputs[n].name;
  schema_unknown(r->b->report, node, names, n, "stage `%s` (%s) has no output `%.100s`", other->id, other->uses, name);
}

static void cannot_read(struct binder *r, const struct node *node, const struct port_type *port, const char *what) {
  node_problem(r->b->report, PROBLEM_ERROR, node, port->summary, "port `%s` of stage `%s` cannot read %s", port->name,
               r->stage->id, what);
}

static void bind_output(struct binder *r, const struct port_type *port, const struct node *node, size_t producer,
                        const char *name) {
  const struct pipeline_stage *other = &r->b->p->stages[producer];
  const struct port_type *output = stage_type_output(other->type, name);
  if (!output) return unknown_output(r, node, producer, name);
  if (fits(output, port, true)) return bind(r, port, PRODUCER_STAGE, producer, output);
  bool several = (output->flags & SM_PORT_MANY) && !(port->flags & SM_PORT_MANY);
  mem_auto char *what = mem_format("`%s.%s`: %s", other->id, name,
                                   several ? "it is many files, the port takes one" : "it is of another kind");
  cannot_read(r, node, port, what);
}

static void bind_named(struct binder *r, const struct port_type *port, const struct node *node) {
  if (node->kind != NODE_SCALAR || node_is_empty(node)) {
    node_problem(r->b->report, PROBLEM_ERROR, node, NULL, "an input is written STAGE, STAGE.PORT or source, not %s",
                 node_kind_word(node));
    return;
  }
  if (strcmp(node->text, "source") == 0) {
    if (takes_input(port) || port->kind == SM_PORT_ARTIFACT) /* whoever writes it knows what the input will be */
      bind_source(r, port, true);
    else
      cannot_read(r, node, port, "the job's input");
    return;
  }
  const char *dot = strchr(node->text, '.');
  mem_auto char *id = dot ? mem_text_n(node->text, (size_t)(dot - node->text)) : mem_text(node->text);
  size_t producer = stage_find_at(r->b, node, id, r->index, "inputs");
  if (producer == SIZE_MAX || !r->b->p->stages[producer].type) return;
  if (dot) return bind_output(r, port, node, producer, dot + 1);
  if (bind_one(r, port, producer, node, true)) return;
  mem_auto char *what = mem_format("anything that stage `%s` (%s) makes", id, r->b->p->stages[producer].uses);
  cannot_read(r, node, port, what);
}

static void bind_written(struct binder *r, const struct port_type *port, const struct node *node) {
  if (node->kind != NODE_LIST) return bind_named(r, port, node);
  bool many = port->kind == SM_PORT_ARTIFACT && (port->flags & SM_PORT_MANY);
  if (!many && node->count != 1) {
    node_problem(r->b->report, PROBLEM_ERROR, node, "name one", "port `%s` of stage `%s` takes one producer, not %zu",
                 port->name, r->stage->id, node->count);
    return;
  }
  for (size_t i = 0; i < node->count; i++) bind_named(r, port, node->items[i]);
}

static void check_ports(struct binder *r, const struct node *inputs) {
  const char *names[256];
  size_t n = 0;
  for (; n < r->stage->type->input_count && n < 256; n++) names[n] = r->stage->type->inputs[n].name;
  for (size_t i = 0; i < inputs->count; i++) {
    const struct node *key = inputs->entries[i].key;
    if (!stage_type_input(r->stage->type, key->text))
      schema_unknown(r->b->report, key, names, n, "stage `%s` (%s) has no input `%.100s`", r->stage->id, r->stage->uses,
                     key->text);
  }
}

void bindings_build(struct build *b, size_t index) {
  struct binder r = {b, index, &b->p->stages[index], b->stage_nodes[index]};
  const struct node *inputs = node_get(r.node, "inputs");
  if (!r.stage->type) return;
  if (inputs && inputs->kind != NODE_MAP) inputs = NULL; /* reported */
  if (inputs) check_ports(&r, inputs);
  for (size_t i = 0; i < r.stage->type->input_count; i++) {
    const struct port_type *port = &r.stage->type->inputs[i];
    const struct node *written = inputs ? node_get(inputs, port->name) : NULL;
    if (written)
      bind_written(&r, port, written);
    else
      bind_default(&r, port);
  }
}
