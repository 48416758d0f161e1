/* list - what there is to be processed: objects of a bucket, entries of an archive, files of a Drive folder. One plugin, three
 * stages; each writes the same list (list.h), from which a batch makes a job a file. */
#include "list.h"

#define LIMITS                                                                                                         \
  SM_INT("max-files", "10000", 1, 1000000, NULL, "refuse a listing of more files"),                                    \
      SM_SIZE("max-file-size", NULL, 1, 1e15, "larger files are listed as oversized and not fetched")
#define NETWORK                                                                                                        \
  SM_CHOICE("networks", "any", "any|public", "public: refuse addresses that are not on the public internet"),          \
      SM_FILE("ca", 0, "certificates (PEM) to trust instead of the system's")

static const sm_param bucket_params[] = {
  SM_PARAM("bucket", SM_TAKES_TEXT, SM_REQUIRED, NULL, NULL, 0, 0, NULL, NULL, "the bucket"),
  SM_TEXT("prefix", NULL, "only keys that begin so"),
  SM_TEXT("endpoint", NULL, "URL of the object storage; Amazon's unless given"),
  SM_TEXT("region", "us-east-1", "region to sign for"),
  SM_SECRET("access-key", 0, "access key, as ${{ secrets.NAME }}"),
  SM_SECRET("secret-key", 0, "secret key, as ${{ secrets.NAME }}"),
  SM_SECRET("session-token", 0, "session token of temporary keys, as ${{ secrets.NAME }}"),
  LIMITS, NETWORK, SM_PARAMS_END};
static const sm_param archive_params[] = {
  LIMITS, SM_SIZE("max-total", "200G", 1, 1e15, "refuse an archive that unpacks to more"), SM_PARAMS_END};
static const sm_param drive_params[] = {
  SM_PARAM("folder", SM_TAKES_TEXT, SM_REQUIRED, NULL, NULL, 0, 0, NULL, NULL, "id of the folder"),
  SM_TEXT("url", "https://www.googleapis.com/drive/v3", "base of the API"),
  SM_SECRET("token", 0, "the caller's own token, as ${{ secrets.NAME }}"),
  LIMITS, NETWORK, SM_PARAMS_END};

static const sm_port none[] = {SM_PORTS_END};
static const sm_port archive_in[] = {SM_PORT("archive", SM_PORT_ARTIFACT, SM_PORT_SOURCE, "*/*", "tar, zip or 7z"), SM_PORTS_END};
static const sm_port lists[] = {SM_OUTPUT("files", "application/x-ndjson", "the list, one JSON object a line"), SM_PORTS_END};
static const sm_port unpacked[] = {SM_OUTPUT("files", "application/x-ndjson", "the list, one JSON object a line"),
                                   SM_OUTPUTS("entries", "application/octet-stream", "the files themselves"), SM_PORTS_END};
static const sm_result results[] = {SM_RESULT_INT("files", SM_AT_END, NULL, "files in the list"),
                                    SM_RESULT_INT("bytes", SM_AT_END, "bytes", "their size, as far as it is known"),
                                    SM_RESULT_INT("problems", SM_AT_END, NULL, "those that cannot be fetched"), SM_RESULTS_END};

static const sm_stage stages[] = {
  SM_TASK_STAGE_CAP("list-bucket", "lists the objects of an S3-compatible bucket", "network", bucket_params, none, lists, results,
                    bucket_list),
  SM_TASK_STAGE("list-archive", "lists and unpacks the files in an archive", archive_params, archive_in, unpacked, results,
                archive_list),
  SM_TASK_STAGE_CAP("list-drive", "lists the files of a Google Drive folder", "network", drive_params, none, lists, results,
                    drive_list),
  SM_STAGES_END};
SM_PLUGIN("org.stagemill.list", "0.1.0", "MIT", stages);
