// Values as text: for each, the Python call that would make it.
#pragma once

#include <string>

#include "minisim/engine.hpp"

namespace minisim {

std::string to_text(const PlacedTile& x);
std::string to_text(const SchedLoad& x);
std::string to_text(const SchedStore& x);
std::string to_text(const SchedExecute& x);
std::string to_text(const SchedVector& x);
std::string to_text(const EngineConfig& x);
std::string to_text(const EngineStats& x);

}  // namespace minisim
