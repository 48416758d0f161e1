/* hold - a stage that waits for a person. The capability "person" says it all: the host asks, waits, and takes the answer; no
 * process of this stage is ever started. Its tables are what `check`, forms and manuals know it by. */
#include <stagemill/stage.h>

static const sm_param params[] = {
    SM_TEXT("title", "", "what is to be decided, in a few words"),
    SM_TEXT("message", "", "what whoever decides should look at"),
    SM_PARAM("fields", SM_TAKES_TEXT, SM_REPEATED, NULL, NULL, 0, 0, NULL, NULL,
             "names of values that may be given with the decision, lower_case_with_underscores; each is a result of that name"),
    SM_PARAMS_END};

static const sm_port inputs[] = {SM_PORTS_END};
static const sm_port outputs[] = {SM_PORTS_END};

static const sm_result results[] = {
    SM_RESULT_TEXT("verdict", SM_AT_END, "`released`; a rejection fails the stage"),
    SM_RESULT("comment", SM_RESULT_TYPE_TEXT, SM_AT_END, SM_RESULT_NULLABLE, NULL, "what was said with the decision"),
    SM_RESULT("by", SM_RESULT_TYPE_TEXT, SM_AT_END, SM_RESULT_NULLABLE, NULL, "who decided"),
    SM_RESULTS_END};

static sm_status hold_run(sm_task *task) {
  return sm_fail(task, SM_FAIL, "run() of a stage with the capability `person` was called",
                 "a stage that waits for a person is held by the host: this host does not know how, use a newer one");
}

static const sm_stage stages[] = {SM_TASK_STAGE_CAP("hold", "wait for a person to release or reject", "person", params, inputs,
                                                    outputs, results, hold_run),
                                  SM_STAGES_END};

SM_PLUGIN("org.stagemill.hold", "0.1.0", "MIT", stages);
