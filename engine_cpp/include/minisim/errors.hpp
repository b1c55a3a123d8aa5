// What the engine throws. bindings.cpp turns these into the Python classes of minisim.errors.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace minisim {

// A table breaks a rule of the instruction set, or events come in an impossible order.
class ScheduleError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// An argument is not one that the called function accepts.
class UsageError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A row was to be gathered that its table does not have.
class IndexOutOfRange : public std::runtime_error {
public:
    IndexOutOfRange(const std::string& message, std::int64_t op_) : std::runtime_error(message), op(op_) {}

    std::int64_t op;  // stream position of the load
};

// An operation met data that is not, or not yet, what the program says it should be.
class Hazard : public std::runtime_error {
public:
    Hazard(const std::string& message, std::int64_t op_, std::int64_t other_, std::int64_t cycle_)
        : std::runtime_error(message), op(op_), other(other_), cycle(cycle_) {}

    std::int64_t op;     // stream position of the operation that was starting
    std::int64_t other;  // of the one it conflicts with, -1 if there is none
    std::int64_t cycle;  // when it started
};

}  // namespace minisim
