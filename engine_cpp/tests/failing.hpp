// Memory that runs out on demand: failing.cpp replaces the program's operator new.
#pragma once

// From here to its end, allocation number `n` throws std::bad_alloc, counted from now. One at a time.
class Failing {
public:
    explicit Failing(long n);
    ~Failing();
    Failing(const Failing&) = delete;
    Failing& operator=(const Failing&) = delete;

    bool happened() const;
};
