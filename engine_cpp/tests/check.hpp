// A very small test harness: named tests, CHECK, and CHECK_THROWS that looks at the message.
#pragma once

#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace check {

struct Test {
    const char* name;
    std::function<void()> body;
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

inline int& failures() {
    static int count = 0;
    return count;
}

inline bool add(const char* name, std::function<void()> body) {
    tests().push_back({name, std::move(body)});
    return true;
}

inline void fail(const char* file, int line, const std::string& what) {
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
    ++failures();
}

template <class X, class Y>
void equal(const char* file, int line, const char* text, const X& x, const Y& y) {
    if (x == y) return;
    std::ostringstream out;
    out << text << ": " << x << " is not " << y;
    fail(file, line, out.str());
}

// Runs every test whose name contains the argument (all without one); "--stop" is all up to the first
// failure. A test that checks nothing would pass for ever, so having no tests to run is a failure.
inline int run(int argc, char** argv) {
    const std::string argument = argc > 1 ? argv[1] : "";
    const bool stop = argument == "--stop";
    const std::string wanted = stop ? "" : argument;
    int ran = 0;
    for (const Test& test : tests()) {
        if (std::string(test.name).find(wanted) == std::string::npos) continue;
        const int before = failures();
        try {
            test.body();
        } catch (const std::exception& error) {
            fail(test.name, 0, std::string("unexpected exception: ") + error.what());
        }
        std::printf("%s %s\n", failures() == before ? "ok    " : "FAILED", test.name);
        ++ran;
        if (stop && failures() > 0) break;
    }
    return failures() == 0 && ran > 0 ? 0 : 1;
}

}  // namespace check

#define TEST(name)                                                  \
    static void test_##name();                                      \
    static const bool added_##name = check::add(#name, test_##name); \
    static void test_##name()

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) check::fail(__FILE__, __LINE__, "not true: " #condition); \
    } while (false)

#define CHECK_EQUAL(x, y) check::equal(__FILE__, __LINE__, #x, x, y)

// `statement` must throw `Type`, with a message that contains `text`. Runs `more` on the exception,
// whose name is `error`.
#define CHECK_THROWS_AND(statement, Type, text, more)                                       \
    do {                                                                                    \
        bool thrown = false;                                                                \
        try {                                                                               \
            statement;                                                                      \
        } catch (const Type& error) {                                                       \
            thrown = true;                                                                  \
            if (std::string(error.what()).find(text) == std::string::npos) {                \
                check::fail(__FILE__, __LINE__,                                             \
                            std::string("message without '") + (text) + "': " + error.what()); \
            }                                                                               \
            more;                                                                           \
        }                                                                                   \
        if (!thrown) check::fail(__FILE__, __LINE__, "no " #Type " from " #statement);      \
    } while (false)

#define CHECK_THROWS(statement, Type, text) CHECK_THROWS_AND(statement, Type, text, (void)0)
