# stagemill_plugin(NAME SOURCES files... [LIBS libraries...] [OUTPUT folder])
# Builds NAME.so with the flags a stage plugin needs: hidden visibility, no symbol interposition, no unique symbols.
include_guard(GLOBAL)
function(stagemill_plugin name)
  cmake_parse_arguments(P "" "OUTPUT" "SOURCES;LIBS" ${ARGN})
  add_library(plugin_${name} MODULE ${P_SOURCES})
  if(TARGET stagemill_sdk)
    target_link_libraries(plugin_${name} PRIVATE stagemill_sdk)
  endif()
  target_link_libraries(plugin_${name} PRIVATE ${P_LIBS})
  target_link_options(plugin_${name} PRIVATE -Wl,-Bsymbolic -Wl,-z,defs)
  target_compile_options(plugin_${name} PRIVATE $<$<C_COMPILER_ID:GNU>:-fno-gnu-unique>)
  set_target_properties(plugin_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME "${name}" SUFFIX ".so"
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(P_OUTPUT)
    set_target_properties(plugin_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${P_OUTPUT}")
  endif()
endfunction()
