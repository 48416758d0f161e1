/* doctor_install.c - are the parts there, do the plugins load, is there a font, may state be kept and is there room? */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/doctor.h"

static const int64_t ROOM_WANTED = INT64_C(2) << 30; /* a ladder of a short clip with room for a second attempt */

static void install_part(struct doctor *d, const char *name, const char *path, int mode) {
  if (!access(path, mode))
    doctor_note(d, name, HEALTH_OK, NULL, "%s", path);
  else
    doctor_note(d, name, HEALTH_BAD, "install stagemill again: its parts belong together", "%s: %s", path,
                strerror(errno));
}

/* ---- plugins and libav ------------------------------------------------------------------------------------------- */

static void plugins_refused(struct doctor *d, const struct catalogue *catalogue) {
  for (size_t i = 0; i < catalogue_count(catalogue); i++) {
    const struct plugin_record *r = catalogue_at(catalogue, i);
    if (r->state == PLUGIN_LOADED) continue;
    const char *word = r->state == PLUGIN_QUARANTINED ? "quarantined" : "refused";
    if (!r->reason)
      doctor_note(d, "plugin", HEALTH_BAD, "install a version that fits, or remove the file", "%s is %s", r->path,
                  word);
    else if (strstr(r->reason, r->path)) /* it says itself what to do */
      doctor_note(d, "plugin", HEALTH_BAD, NULL, "%s: %s", word, r->reason);
    else
      doctor_note(d, "plugin", HEALTH_BAD, NULL, "%s is %s: %s", r->path, word, r->reason);
  }
}

/* libav is there when a plugin built with it loads: this program does not link to it. */
static void plugins_libav(struct doctor *d, const struct catalogue *catalogue) {
  for (size_t i = 0; i < catalogue_count(catalogue); i++) {
    const struct plugin_record *r = catalogue_at(catalogue, i);
    if (!r->uses_libav || r->state != PLUGIN_LOADED) continue;
    if (r->avutil_version)
      doctor_note(d, "libav", HEALTH_OK, NULL, "loads; plugins were built with libavutil %u.%u.%u",
                  r->avutil_version >> 16, (r->avutil_version >> 8) & 0xff, r->avutil_version & 0xff);
    else
      doctor_note(d, "libav", HEALTH_OK, NULL, "loads");
    return;
  }
  doctor_note(d, "libav", HEALTH_WARN, "install the media plugins and the libraries of FFmpeg",
              "no plugin that works on media could be loaded");
}

void doctor_plugins(struct doctor *d, struct site *site) {
  size_t count = catalogue_count(site->catalogue), loaded = 0, stages = stage_set_count(site->stages);
  for (size_t i = 0; i < count; i++) loaded += catalogue_at(site->catalogue, i)->state == PLUGIN_LOADED;
  if (loaded)
    doctor_note(d, "plugins", HEALTH_OK, NULL, "%zu of %zu loaded, %zu stages", loaded, count, stages);
  else
    doctor_note(d, "plugins", HEALTH_BAD, "install plugins, or name their folder in STAGEMILL_PLUGIN_PATH",
                "none of %zu loaded", count);
  plugins_refused(d, site->catalogue);
  plugins_libav(d, site->catalogue);
}

/* ---- font -------------------------------------------------------------------------------------------------------- */

static bool is_font(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (!strcmp(dot, ".ttf") || !strcmp(dot, ".otf") || !strcmp(dot, ".ttc"));
}

static char *font_in(const char *folder) {
  DIR *dir = opendir(folder);
  char *found = NULL;
  for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
    if (is_font(entry->d_name)) found = mem_format("%s/%s", folder, entry->d_name);
  if (dir) closedir(dir);
  return found;
}

/* The font that ships lies in share/ or beside the plugins; a Debian system may bring it as a package. */
static void install_font(struct doctor *d, const struct paths *paths) {
  mem_auto char *shared = mem_format("%s/fonts", paths->share), *beside = mem_format("%s/fonts", paths->plugins);
  const char *folders[] = {shared, beside, paths->plugins, "/usr/share/fonts/truetype/dejavu"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    mem_auto char *font = font_in(folders[i]);
    if (!font) continue;
    doctor_note(d, "font", HEALTH_OK, NULL, "%s", font);
    return;
  }
  doctor_note(d, "font", HEALTH_WARN, "install fonts-dejavu-core, or give stages that draw text a font of yours",
              "no font was found in %s", shared);
}

/* ---- state and room ---------------------------------------------------------------------------------------------- */

/* The folder itself or, while it is not there, the nearest one above it. */
static char *existing_above(const char *path) {
  char *at = mem_text(path);
  while (access(at, F_OK) && strlen(at) > 1) {
    char *slash = strrchr(at, '/');
    if (!slash) break;
    slash[slash == at ? 1 : 0] = 0;
  }
  return at;
}

static void install_state(struct doctor *d, const struct paths *paths) {
  const char *state = paths->state_home ? paths->state_home : paths->system_state;
  mem_auto char *at = existing_above(state);
  if (!access(at, W_OK | X_OK))
    doctor_note(d, "state folder", HEALTH_OK, NULL, "%s can be written", state);
  else
    doctor_note(d, "state folder", HEALTH_BAD, "give its owner the right to write, or set XDG_STATE_HOME",
                "%s cannot be written: %s", at, strerror(errno));
  int64_t room = fs_free_bytes(at);
  if (room < 0)
    doctor_note(d, "free space", HEALTH_WARN, NULL, "unknown for %s", at);
  else if (room < ROOM_WANTED)
    doctor_note(d, "free space", HEALTH_WARN,
                "make room: outputs are written beside the old ones before they replace them",
                "%.1f GB on the file system of %s", (double)room / 1e9, at);
  else
    doctor_note(d, "free space", HEALTH_OK, NULL, "%.1f GB on the file system of %s", (double)room / 1e9, at);
}

static void install_cache(struct doctor *d, const struct paths *paths) {
  if (paths_make_cache(paths))
    doctor_note(d, "cache folder", HEALTH_OK, NULL, "%s", paths->cache_folder);
  else
    doctor_note(d, "cache folder", HEALTH_WARN, "make it writable, or set XDG_CACHE_HOME",
                "%s cannot be written: plugins are loaded anew for every command", paths->cache_folder);
}

void doctor_install(struct doctor *d, const struct paths *paths) {
  install_part(d, "runner", paths->runner, X_OK);
  install_part(d, "pass executor", paths->pass_module, R_OK);
  install_cache(d, paths);
  install_font(d, paths);
  install_state(d, paths);
}
