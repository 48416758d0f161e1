# stagemill_plugin(NAME SOURCES files... [LIBS libraries...] [OUTPUT folder])
# Builds NAME.so with the flags a stage plugin needs. The target is plugin_NAME.
#   hidden visibility     the host reads one symbol, stagemill_plugin; nothing else may meet the symbols of other plugins
#   -Bsymbolic            a library of the host's process with the same symbol does not get between the plugin and its own
#   -fno-gnu-unique       static members of C++ templates stay the plugin's own (gcc)
#   -z defs               a symbol that nothing provides is an error now, not at load time
include_guard(GLOBAL)
function(stagemill_plugin name)
  cmake_parse_arguments(P "" "OUTPUT" "SOURCES;LIBS" ${ARGN})
  if(NOT P_SOURCES)
    message(FATAL_ERROR "stagemill_plugin(${name}): name the source files after SOURCES")
  endif()
  add_library(plugin_${name} MODULE ${P_SOURCES})
  foreach(sdk Stagemill::sdk stagemill_sdk)
    if(TARGET ${sdk})
      target_link_libraries(plugin_${name} PRIVATE ${sdk})
      break()
    endif()
  endforeach()
  target_link_libraries(plugin_${name} PRIVATE ${P_LIBS})
  target_link_options(plugin_${name} PRIVATE -Wl,-Bsymbolic -Wl,-z,defs)
  target_compile_options(plugin_${name} PRIVATE
    $<$<AND:$<COMPILE_LANGUAGE:C>,$<C_COMPILER_ID:GNU>>:-fno-gnu-unique>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fno-gnu-unique>)
  set_target_properties(plugin_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME "${name}" SUFFIX ".so" POSITION_INDEPENDENT_CODE ON
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(P_OUTPUT)
    set_target_properties(plugin_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${P_OUTPUT}")
  endif()
endfunction()
