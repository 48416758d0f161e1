#include "note.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

static bool read_at(FILE *file, long at, void *to, size_t size) {
  return fseek(file, at, SEEK_SET) == 0 && fread(to, 1, size, file) == size;
}

static bool section_is_note(FILE *file, const Elf64_Ehdr *head, const Elf64_Shdr *section) {
  Elf64_Shdr names;
  char name[32] = "";
  if (!read_at(file, (long)(head->e_shoff + head->e_shstrndx * sizeof names), &names, sizeof names)) return false;
  if (fseek(file, (long)(names.sh_offset + section->sh_name), SEEK_SET) != 0 || !fgets(name, sizeof name, file))
    return false;
  return strcmp(name, ".note.stagemill") == 0;
}

bool note_read(const char *path, sm_note *note) {
  FILE *file = fopen(path, "rb");
  Elf64_Ehdr head;
  Elf64_Shdr section;
  bool found = false;
  if (!file) return false;
  if (!read_at(file, 0, &head, sizeof head)) head.e_shnum = 0;
  for (int i = 0; i < head.e_shnum && !found; i++)
    found = read_at(file, (long)(head.e_shoff + (size_t)i * sizeof section), &section, sizeof section) &&
            section.sh_size == sizeof *note && section_is_note(file, &head, &section) &&
            read_at(file, (long)section.sh_offset, note, sizeof *note);
  fclose(file);
  return found;
}
