/* build.h - what the files that turn a YAML tree into a struct pipeline share while they do it. */
#pragma once
#include "config/schema.h"
#include "config/tree.h"
#include "pipeline/keys.h"
#include "pipeline/pipeline.h"

enum { BUILD_STAGES_MAX = 256, BUILD_PARAMS_MAX = 256, BUILD_ID_MAX = 63 };

struct build {
  struct tree *tree;
  struct node *root; /* merged: includes and x- keys are gone */
  const struct tree_file *main_file;
  const char *front; /* file whose params and stages come before all others; NULL: none */
  struct report *report;
  struct stage_set *set;
  struct pipeline *p;
  const struct node **stage_nodes; /* one per stage; entries of p->stages beside them */
  bool *param_used;
  bool *stage_read; /* another stage reads its frames */
};

/* include.c: reads a file with all it includes and merges them into b->root. False: nothing to check. */
bool include_load(struct build *b, const char *text, size_t size, const char *name, const char *folder,
                  const char *path);

/* param.c */
void params_build(struct build *b);
type_set param_types(const struct param_type *type);

/* setting.c */
struct node_text {
  char *file;
  size_t line, column;
};
enum setting_kind { SETTING_LITERAL = 1, SETTING_TEMPLATE, SETTING_LIST, SETTING_RECORD };
struct setting_value {
  enum setting_kind kind;
  struct value *literal;
  struct template *t;
  struct setting_value **items; /* LIST, RECORD */
  char **keys;                  /* RECORD */
  size_t count;
};
void settings_build(struct build *b, size_t stage);
/* What a stage that waits for a person asks for by name (`with: fields`), as far as it is written out: results of those
 * names come back. */
size_t settings_asked(const struct pipeline *p, size_t stage, const char **names, size_t room);
void setting_free(struct setting *setting);
typedef void setting_visit(void *context, const struct template *t);
void setting_templates(const struct setting_value *v, setting_visit *visit, void *context);
/* Makes a relative path absolute where it stands, so that the pinned text needs no folder. */
bool takes_path(uint32_t takes);
void path_missing(struct build *b, const struct node *node, uint32_t takes); /* warns */
void path_anchor(struct node *node, uint32_t takes);
char *path_absolute(const char *folder, const char *path); /* URLs, empty texts and a NULL folder leave it alone */

/* reference.c: expressions in the file, with what they may refer to. */
enum expression_place { PLACE_WITH = 1, PLACE_IF, PLACE_RESULT, PLACE_GROUP };
struct expression_check {
  struct build *b;
  enum expression_place place;
  size_t stage; /* SIZE_MAX: none */
};
/* Checks names and types; false when reported. *types is what it gives. */
bool expression_template(const struct expression_check *c, const struct node *node, struct template **t,
                         type_set *types);
bool expression_condition(const struct expression_check *c, const struct node *node, struct expr **expr);
type_set rule_types(const struct rule *rule); /* what a value of this rule can be made from */

/* stage.c */
void stages_build(struct build *b);
bool build_id(struct build *b, const struct node *node, const char *what);
size_t stage_find_at(struct build *b, const struct node *node, const char *id, size_t self, const char *role);
void after_add(struct pipeline_stage *stage, size_t other);
void stage_clear(struct pipeline_stage *stage);

/* policy.c: retry, timeouts and what contradicts what */
void defaults_build(struct build *b, struct pipeline_stage *defaults);
void policy_build(struct build *b, struct pipeline_stage *stage, const struct node *node, const struct value *values,
                  const struct pipeline_stage *defaults);

/* notify.c: who is told what becomes of a job */
void notify_build(struct build *b);

/* bind.c: who feeds which port */
void bindings_build(struct build *b, size_t stage);

/* graph.c: cycles, clashes, what nobody reads */
void graph_check(struct build *b);

/* pin.c */
void pin_text(const struct node *root, struct buf *out);
