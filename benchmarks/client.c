/* A lean client: many keep-alive connections over one Unix socket, one request at a time on each.
 *
 * Sends 512 requests that were built beforehand, in turn. They look like what nginx sends with the
 * configuration that `udsrv gen-nginx` prints, and differ where real requests differ: the client's
 * address, the request's id and time, cookie and user agent. A server therefore cannot live off a
 * cache of whole heads. Every response is checked in full: status, framing, body.
 *
 * Usage: client SOCKET SECONDS REQUESTS [--spin]
 *
 * Protocol with run.py: warms up, writes "warm\n", waits for a byte on stdin, runs for SECONDS or
 * REQUESTS (whichever ends first), waits for the outstanding responses, writes one line of JSON.
 * When it waits for stdin and when it has written JSON no request is outstanding, so that the
 * server's CPU clock can be read at both moments with the server asleep.
 *
 * Exit: 0, or 1 with one sentence on stderr as soon as a response is wrong, late or missing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS = 16,
    REQUESTS_BUILT = 512,
    REQUEST_BYTES_MAX = 2048,
    RESPONSE_BYTES_MAX = 4096,
    WARM_UP_REQUESTS = 20000,
    SILENCE_LIMIT_MS = 10000,
    /* Latency histogram: 32 buckets per power of two, so a percentile is off by at most 3 %. */
    SUB_BITS = 5,
    BUCKETS = 64 << SUB_BITS,
};

static const char BODY[] = "Hello, World!";
static const size_t BODY_BYTES = sizeof BODY - 1;

struct request {
    size_t bytes;
    char text[REQUEST_BYTES_MAX];
};

struct connection {
    int fd;
    bool busy;
    size_t have;
    uint64_t sent_ns;
    char response[RESPONSE_BYTES_MAX];
};

static struct request requests[REQUESTS_BUILT];
static struct connection connections[CONNECTIONS];
static uint64_t histogram[BUCKETS];
static unsigned next_request;
static int epoll_fd;
static int wait_ms = SILENCE_LIMIT_MS;

_Noreturn static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "client: %s: %s\n", what, detail);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* The same sequence in every run: xorshift64 (Marsaglia 2003). */
static uint64_t random_bits(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15U;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void build_requests(void)
{
    static const char *const agents[] = {
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/%u.0.%u.%u Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:%u.0) Gecko/%u Firefox/%u.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS %u_%u like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/18.0 Mobile/15E%u Safari/604.1",
    };
    for (unsigned i = 0; i < REQUESTS_BUILT; i++) {
        char agent[256];
        char address[32];
        uint64_t bits = random_bits();
        unsigned major = 100 + (unsigned)(bits % 50);
        unsigned minor = (unsigned)(bits >> 8) % 7000;
        unsigned patch = (unsigned)(bits >> 24) % 200;
        snprintf(agent, sizeof agent, agents[i % 3], major, minor, patch);
        /* 198.18.0.0/15 is set aside for benchmarks: RFC 2544. */
        bits = random_bits();
        snprintf(address, sizeof address, "198.%u.%u.%u", 18 + (unsigned)(bits & 1),
                 (unsigned)(bits >> 8) & 255, (unsigned)(bits >> 16) & 255);
        uint64_t id_high = random_bits();
        uint64_t id_low = random_bits();
        uint64_t session = random_bits();
        uint64_t token = random_bits();
        int bytes = snprintf(
            requests[i].text, REQUEST_BYTES_MAX,
            "GET / HTTP/1.1\r\n"
            "Host: bench.example\r\n"
            "X-Forwarded-For: %s\r\n"
            "X-Forwarded-Proto: https\r\n"
            "X-Forwarded-Host: bench.example\r\n"
            "X-Forwarded-Port: 443\r\n"
            "X-Real-IP: %s\r\n"
            "X-Request-ID: %016" PRIx64 "%016" PRIx64 "\r\n"
            "X-Request-Start: t=%u.%03u\r\n"
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
            "Accept-Encoding: gzip, deflate, br\r\n"
            "Accept-Language: en-US,en;q=0.5\r\n"
            "Cookie: session=%016" PRIx64 "; csrftoken=%016" PRIx64 "\r\n"
            "User-Agent: %s\r\n"
            "\r\n",
            address, address, id_high, id_low, 1764000000U + i / 8, i * 7 % 1000, session, token,
            agent);
        if (bytes <= 0 || bytes >= REQUEST_BYTES_MAX) {
            fail("cannot build a request", "longer than its buffer");
        }
        requests[i].bytes = (size_t)bytes;
    }
}

static void connect_all(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fail(path, "longer than a socket's path may be");
    }
    memcpy(address.sun_path, path, strlen(path));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        fail("epoll_create1", strerror(errno));
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) {
            fail(path, strerror(errno));
        }
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) {
            fail("epoll_ctl", strerror(errno));
        }
    }
}

static void send_next(struct connection *c)
{
    const struct request *r = &requests[next_request++ % REQUESTS_BUILT];
    c->sent_ns = now_ns();
    c->have = 0;
    c->busy = true;
    if (send(c->fd, r->text, r->bytes, MSG_NOSIGNAL) != (ssize_t)r->bytes) {
        fail("send", strerror(errno));
    }
}

/* True when `line`, up to `end`, is the field `name` (with its colon) with the value `value`. */
static bool is_field(const char *line, const char *end, const char *name, const char *value)
{
    size_t name_bytes = strlen(name);
    if ((size_t)(end - line) < name_bytes || strncasecmp(line, name, name_bytes) != 0) {
        return false;
    }
    const char *start = line + name_bytes;
    while (start < end && *start == ' ') {
        start++;
    }
    return (size_t)(end - start) == strlen(value) && strncasecmp(start, value, strlen(value)) == 0;
}

/* True when the response is complete; ends the program when it is wrong. */
static bool check_response(const struct connection *c)
{
    static const char status[] = "HTTP/1.1 200 ";
    const char *response = c->response;
    const char *blank = memmem(response, c->have, "\r\n\r\n", 4);
    if (blank == NULL) {
        if (c->have == RESPONSE_BYTES_MAX) {
            fail("wrong response", "its head does not end");
        }
        return false;
    }
    if (memcmp(response, status, sizeof status - 1) != 0) {
        fail("wrong response", "its status line is not that of a 200");
    }
    bool has_length = false;
    const char *end = NULL;
    for (const char *line = response; line < blank; line = end + 2) {
        end = memmem(line, (size_t)(blank + 2 - line), "\r\n", 2);
        /* Only fields that begin with C or T matter here; the others are skipped unread. */
        switch (*line | 0x20) {
        case 'c':
            has_length = has_length || is_field(line, end, "content-length:", "13");
            if (is_field(line, end, "connection:", "close")) {
                fail("wrong response", "the server closes a keep-alive connection");
            }
            break;
        case 't':
            if (end - line > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0) {
                fail("wrong response", "chunked although the application set Content-Length");
            }
            break;
        default: break;
        }
    }
    if (!has_length) {
        fail("wrong response", "without Content-Length: 13");
    }
    const char *body = blank + 4;
    size_t body_bytes = c->have - (size_t)(body - response);
    if (body_bytes > BODY_BYTES || memcmp(body, BODY, body_bytes) != 0) {
        fail("wrong response", "its body is not \"Hello, World!\"");
    }
    return body_bytes == BODY_BYTES;
}

static bool receive(struct connection *c)
{
    ssize_t received = recv(c->fd, c->response + c->have, RESPONSE_BYTES_MAX - c->have, 0);
    if (received < 0) {
        fail("recv", strerror(errno));
    }
    if (received == 0) {
        fail("wrong response", "the server closed a connection");
    }
    if (!c->busy) {
        fail("wrong response", "bytes without a request");
    }
    c->have += (size_t)received;
    return check_response(c);
}

static void count_latency(uint64_t ns)
{
    /* ns = (32 + sub) << shift for all but the smallest values, which nothing here reaches. */
    int shift = 58 - __builtin_clzll(ns | 32);
    histogram[((unsigned)shift << SUB_BITS) + ((ns >> shift) & 31)]++;
}

/* The middle of the bucket that `share` of the responses do not exceed, in microseconds. */
static double percentile_us(uint64_t total, double share)
{
    uint64_t wanted = (uint64_t)((double)total * share);
    uint64_t seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > wanted) {
            double bucket = (double)((uint64_t)1 << (i >> SUB_BITS));
            return ((double)(32 + (i & 31)) + 0.5) * bucket / 1000.0;
        }
    }
    return 0.0;
}

struct outcome {
    uint64_t count;
    uint64_t elapsed_ns;
};

/* Run until `limit_ns` have passed or `limit` requests were sent, then until all are answered. */
static struct outcome run(uint64_t limit_ns, uint64_t limit)
{
    memset(histogram, 0, sizeof histogram);
    uint64_t start_ns = now_ns();
    uint64_t end_ns = start_ns + limit_ns;
    uint64_t heard_ns = start_ns;
    uint64_t sent = 0;
    uint64_t count = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        send_next(&connections[i]);
        sent++;
    }
    while (count < sent) {
        struct epoll_event events[CONNECTIONS];
        int ready = epoll_wait(epoll_fd, events, CONNECTIONS, wait_ms);
        if (ready < 0 && errno != EINTR) {
            fail("epoll_wait", strerror(errno));
        }
        if (ready == 0 && now_ns() - heard_ns > (uint64_t)SILENCE_LIMIT_MS * 900000U) {
            fail("no response", "the server was silent for ten seconds");
        }
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c)) {
                continue;
            }
            heard_ns = now_ns();
            count_latency(heard_ns - c->sent_ns);
            count++;
            c->busy = false;
            if (sent < limit && heard_ns < end_ns) {
                send_next(c);
                sent++;
            }
        }
    }
    return (struct outcome){.count = count, .elapsed_ns = now_ns() - start_ns};
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[4], "--spin") == 0) {
        wait_ms = 0;
        argc--;
    }
    double seconds = argc == 4 ? atof(argv[2]) : 0;
    uint64_t limit = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    if (seconds <= 0 || seconds > 3600 || limit < CONNECTIONS) {
        fprintf(stderr, "usage: client SOCKET SECONDS REQUESTS [--spin]\n");
        return 64;
    }
    build_requests();
    connect_all(argv[1]);

    run(UINT64_C(60000000000), WARM_UP_REQUESTS);
    printf("warm\n");
    fflush(stdout);
    if (getchar() == EOF) {
        fail("stdin", "closed before the start");
    }

    struct outcome o = run((uint64_t)(seconds * 1e9), limit);
    printf("{\"count\": %" PRIu64 ", \"elapsed_ns\": %" PRIu64
           ", \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           o.count, o.elapsed_ns, percentile_us(o.count, 0.50), percentile_us(o.count, 0.99));
    return 0;
}
