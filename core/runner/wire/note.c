#include "wire/note.h"

#include <ctype.h>
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* Bounds for what no honest shared object exceeds: a note is 104 bytes, a linker writes about a dozen headers. */
enum { HEADERS_MAX = 256, SEGMENT_MAX = 64 * 1024, DESC_MIN = 80 };

#if defined(__x86_64__)
#define NATIVE_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define NATIVE_MACHINE EM_AARCH64
#elif defined(__riscv)
#define NATIVE_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define NATIVE_MACHINE EM_PPC64
#elif defined(__s390x__)
#define NATIVE_MACHINE EM_S390
#else
#define NATIVE_MACHINE 0 /* not judged: dlopen refuses what does not fit */
#endif
#if __BYTE_ORDER == __LITTLE_ENDIAN
#define NATIVE_DATA ELFDATA2LSB
#else
#define NATIVE_DATA ELFDATA2MSB
#endif

static const char owner_text[] = "stagemill"; /* SM_NOTE_OWNER: its size with the NUL is 10 */
enum { NOTE_TYPE = 1, OWNER_SIZE = sizeof(owner_text) };

static bool read_at(int fd, void *out, size_t size, uint64_t offset) {
  if (offset > INT64_MAX - size) return false;
  for (size_t got = 0; got < size;) {
    ssize_t n = pread(fd, (char *)out + got, size - got, (off_t)(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    got += (size_t)n;
  }
  return true;
}

static bool id_is_clean(const char *id, size_t room) {
  size_t size = strnlen(id, room);
  if (size == 0 || size == room) return false;
  for (size_t i = 0; i < size; i++)
    if (!isalnum((unsigned char)id[i]) && !strchr(".-_", id[i])) return false;
  return true;
}

static enum err take_note(const unsigned char *desc, size_t size, const char *path, struct note *note,
                          struct error *e) {
  if (size < DESC_MIN)
    return error_set(e, ERR_INVALID, "%s: its stagemill note has %zu bytes instead of at least %d: rebuild the plugin",
                     path, size, DESC_MIN);
  memcpy(&note->abi_major, desc, 2);
  memcpy(&note->abi_minor, desc + 2, 2);
  memcpy(&note->lowest_host_minor, desc + 4, 2);
  memcpy(&note->avutil_version, desc + 8, 4);
  memcpy(&note->avcodec_version, desc + 12, 4);
  memcpy(note->id, desc + 16, sizeof(note->id));
  if (!id_is_clean(note->id, sizeof(note->id)))
    return error_set(e, ERR_INVALID, "%s: the id in its stagemill note is empty or malformed (letters, digits, "
                     "'.', '-', '_'; at most 63): rebuild the plugin with a proper id", path);
  return ERR_OK;
}

/* Walks the notes of one segment. *found counts ours. */
static enum err scan_notes(const unsigned char *data, size_t size, size_t align, const char *path, struct note *note,
                           unsigned *found, struct error *e) {
  size_t at = 0;
  while (size - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header;
    memcpy(&header, data + at, sizeof(header));
    uint64_t name_end = (uint64_t)at + sizeof(header) + header.n_namesz;
    uint64_t desc_at = (name_end + align - 1) / align * align;
    uint64_t desc_end = desc_at + header.n_descsz;
    if (name_end > size || desc_at > size || desc_end > size)
      return error_set(e, ERR_INVALID, "%s: its notes are malformed (a note reaches past its segment): rebuild the "
                       "plugin", path);
    if (header.n_namesz == OWNER_SIZE && header.n_type == NOTE_TYPE &&
        memcmp(data + at + sizeof(header), owner_text, OWNER_SIZE) == 0) {
      if (++*found > 1)
        return error_set(e, ERR_INVALID, "%s: carries more than one stagemill note: use SM_PLUGIN once", path);
      enum err err = take_note(data + desc_at, header.n_descsz, path, note, e);
      if (err) return err;
    }
    uint64_t next = (desc_end + align - 1) / align * align;
    if (next >= size) break;
    at = (size_t)next;
  }
  return ERR_OK;
}

static enum err read_segment(int fd, const Elf64_Phdr *segment, const char *path, struct note *note, unsigned *found,
                             struct error *e) {
  if (segment->p_filesz > SEGMENT_MAX)
    return error_set(e, ERR_INVALID, "%s: a note segment of %llu bytes is larger than any honest one: rebuild the "
                     "plugin", path, (unsigned long long)segment->p_filesz);
  mem_auto unsigned char *data = mem_alloc((size_t)segment->p_filesz + 1);
  if (!read_at(fd, data, (size_t)segment->p_filesz, segment->p_offset))
    return error_set(e, ERR_INVALID, "%s: truncated (its note segment lies behind the end of the file): install it "
                     "again", path);
  return scan_notes(data, (size_t)segment->p_filesz, segment->p_align == 8 ? 8 : 4, path, note, found, e);
}

static enum err check_elf(const Elf64_Ehdr *h, const char *path, struct error *e) {
  if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
    return error_set(e, ERR_INVALID, "%s: not a shared object (no ELF header): remove it from the plugin folder", path);
  if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != NATIVE_DATA ||
      (NATIVE_MACHINE && h->e_machine != NATIVE_MACHINE))
    return error_set(e, ERR_INVALID, "%s: built for another processor (ELF machine %u, this one is %u): install the "
                     "plugin for this architecture", path, h->e_machine, NATIVE_MACHINE);
  if (h->e_type != ET_DYN)
    return error_set(e, ERR_INVALID, "%s: an ELF file but no shared object: build it with -shared", path);
  if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > HEADERS_MAX)
    return error_set(e, ERR_INVALID, "%s: its program headers are malformed: install it again", path);
  return ERR_OK;
}

static enum err read_note(int fd, const char *path, struct note *note, struct error *e) {
  Elf64_Ehdr header;
  if (!read_at(fd, &header, sizeof(header), 0))
    return error_set(e, ERR_INVALID, "%s: not a shared object (shorter than an ELF header): remove it from the plugin "
                     "folder", path);
  enum err err = check_elf(&header, path, e);
  if (err) return err;
  unsigned found = 0;
  for (unsigned i = 0; i < header.e_phnum; i++) {
    Elf64_Phdr segment;
    if (!read_at(fd, &segment, sizeof(segment), header.e_phoff + (uint64_t)i * sizeof(segment)))
      return error_set(e, ERR_INVALID, "%s: truncated (its program headers are cut off): install it again", path);
    if (segment.p_type != PT_NOTE) continue;
    err = read_segment(fd, &segment, path, note, &found, e);
    if (err) return err;
  }
  if (!found)
    return error_set(e, ERR_INVALID, "%s: carries no stagemill note, so it is no stage plugin: build it with "
                     "SM_PLUGIN from <stagemill/stage.h>, or remove it from the plugin folder", path);
  return ERR_OK;
}

enum err note_read(const char *path, struct note *note, struct error *e) {
  memset(note, 0, sizeof(*note));
  /* O_NONBLOCK: a FIFO in a plugin folder must not hang whoever lists it. */
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return error_errno(e, errno, "cannot open the plugin %s", path);
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
    return error_set(e, ERR_INVALID, "%s: not a regular file: remove it from the plugin folder", path);
  return read_note(fd, path, note, e);
}

/* ---- the law ---- */

static enum err judge_abi(const struct note *n, const struct note_host *host, const char *path, struct error *e) {
  if (n->abi_major != host->abi_major)
    return error_set(e, ERR_VERSION, "%s is built for stagemill ABI %u.%u, this host speaks %u.%u: install a build of "
                     "the plugin for ABI %u, or the stagemill that speaks ABI %u", path, n->abi_major, n->abi_minor,
                     host->abi_major, host->abi_minor, host->abi_major, n->abi_major);
  if (n->lowest_host_minor > n->abi_minor)
    return error_set(e, ERR_INVALID, "%s: its note contradicts itself (built for ABI %u.%u, needs at least %u.%u): "
                     "rebuild the plugin", path, n->abi_major, n->abi_minor, n->abi_major, n->lowest_host_minor);
  if (n->lowest_host_minor > host->abi_minor)
    return error_set(e, ERR_VERSION, "%s needs stagemill ABI %u.%u or newer (it is built for %u.%u), this host speaks "
                     "%u.%u: upgrade stagemill, or rebuild the plugin with SM_USE_MINOR at most %u", path,
                     n->abi_major, n->lowest_host_minor, n->abi_major, n->abi_minor, host->abi_major, host->abi_minor,
                     host->abi_minor);
  return ERR_OK;
}

#define MAJOR_OF(v) ((v) >> 16)
#define MINOR_OF(v) ((v) >> 8 & 0xff)

/* `major_only`: packets and codec parameters keep their layout within a major. */
static enum err judge_libav(const char *path, const char *library, uint32_t built, uint32_t present,
                            bool major_only, struct error *e) {
  if (!built) return ERR_OK;
  if (!present)
    return error_set(e, ERR_VERSION, "%s is built for %s %u.%u, this host has none: install %s%u", path, library,
                     MAJOR_OF(built), MINOR_OF(built), library, MAJOR_OF(built));
  bool older = !major_only && MINOR_OF(present) < MINOR_OF(built);
  if (MAJOR_OF(built) == MAJOR_OF(present) && !older) return ERR_OK;
  return error_set(e, ERR_VERSION, "%s is built for %s %u.%u, this host has %u.%u: rebuild the plugin against the "
                   "installed FFmpeg, or install the build made for it", path, library, MAJOR_OF(built),
                   MINOR_OF(built), MAJOR_OF(present), MINOR_OF(present));
}

enum err note_judge(const struct note *note, const struct note_host *host, const char *path, struct error *e) {
  enum err err = judge_abi(note, host, path, e);
  if (err || !host->libav_known) return err;
  err = judge_libav(path, "libavutil", note->avutil_version, host->avutil_version, false, e);
  if (err) return err;
  return judge_libav(path, "libavcodec", note->avcodec_version, host->avcodec_version, true, e);
}
