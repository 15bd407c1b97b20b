/* A lean client: many keep-alive connections to one server, one request at a time on each.
 *
 * Sends 512 requests that were built beforehand, in turn. They look like what nginx sends with the
 * configuration that `udsrv gen-nginx` prints, and differ where real requests differ: the client's
 * address, the request's id and time, cookie and user agent. A server therefore cannot live off a
 * cache of whole heads. Every response is checked: status, framing, length, and the body in full up
 * to 16 KiB, beyond that both ends of each piece.
 *
 * Usage: client ADDRESS SECONDS REQUESTS [OPTION...]
 *
 *   ADDRESS        a Unix socket's path, or with --tcp a port of 127.0.0.1
 *   --spin         never sleep while waiting
 *   --body BYTES   the response is the alphabet over and over; without this it is Hello, World!
 *   --post BYTES   send that many; the response is their number in 13 digits
 *   --reuse N      close each connection after N requests and open another
 *   --sleeper      the first connection asks for /sleep, and only the others are counted
 *
 * Protocol with run.py: warms up, writes "warm\n", reads a line from stdin: the pids of the server's
 * processes. Runs for SECONDS or REQUESTS (whichever ends first), waits for the outstanding
 * responses, writes one line of JSON. When it waits for stdin and when it has written JSON no
 * request is outstanding, so that the server's CPU clock can be read at both moments with the
 * server asleep. In between it reads that clock itself, many times a second.
 *
 * Exit: 0, or 1 with one sentence on stderr as soon as a response is wrong, late or missing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS = 16,
    REQUESTS_BUILT = 512,
    REQUEST_BYTES_MAX = 2048,
    /* What is kept of a response: its head, and the whole of a small body. */
    RESPONSE_BYTES_MAX = 16384,
    PIECE_BYTES = 262144,
    WARM_UP_REQUESTS = 20000,
    WARM_UP_MS = 500,
    SILENCE_LIMIT_MS = 10000,
    HELLO_BYTES = 13,
    ALPHABET_BYTES = 26,
    /* Latency histogram: 32 buckets per power of two, so a percentile is off by at most 3 %. */
    SUB_BITS = 5,
    BUCKETS = 64 << SUB_BITS,
    PROCESSES_MAX = 64,
    /* A window is at least as long, and has at least as many responses: 2 of them more or less, which
     * is what a reading of the clock can be off by, are then 1 %. */
    WINDOW_MS = 25,
    WINDOW_RESPONSES = 200,
    WINDOWS_MAX = 4096,
};

struct request {
    size_t bytes;
    char text[REQUEST_BYTES_MAX];
};

struct connection {
    int fd;
    bool busy;
    bool waits_for_room;
    unsigned requests_sent;
    const struct request *request;
    size_t unsent; /* of head and body together */
    size_t have;   /* of the response's head and body together */
    size_t head;   /* the length of the response's head once it is known */
    uint64_t sent_ns;
    char response[RESPONSE_BYTES_MAX];
};

static struct {
    const char *address;
    double seconds;
    uint64_t limit;
    size_t post_bytes;
    size_t body_bytes;
    unsigned reuse;
    bool is_tcp;
    bool has_sleeper;
} options = {.body_bytes = HELLO_BYTES};

/* What a part of the run took: responses, and CPU time of all the server's processes. */
struct window {
    uint64_t count;
    uint64_t cpu_ns;
};

static char length_text[24];
static char *post_body;
/* What the response's body must be. */
static char *expected_body;
static char piece[PIECE_BYTES];
static struct request sleep_request;
static struct request requests[REQUESTS_BUILT];
static struct connection connections[CONNECTIONS];
static uint64_t histogram[BUCKETS];
static pid_t processes[PROCESSES_MAX];
static unsigned processes_count;
static struct window windows[WINDOWS_MAX];
static unsigned windows_count;
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

/* The CPU time of all the server's processes so far. */
static uint64_t server_cpu_ns(void)
{
    uint64_t sum_ns = 0;
    for (unsigned i = 0; i < processes_count; i++) {
        clockid_t clock;
        struct timespec used;
        if (clock_getcpuclockid(processes[i], &clock) != 0 || clock_gettime(clock, &used) < 0) {
            fail("a process of the server", "its CPU clock can't be read");
        }
        sum_ns += (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
    }
    return sum_ns;
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

static void build_request(struct request *request, unsigned i, const char *path)
{
    static const char *const agents[] = {
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/%u.0.%u.%u Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:%u.0) Gecko/%u Firefox/%u.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS %u_%u like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/18.0 Mobile/15E%u Safari/604.1",
    };
    char agent[256];
    char content[96] = "";
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
    if (options.post_bytes > 0) {
        snprintf(content, sizeof content,
                 "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n",
                 options.post_bytes);
    }
    int bytes = snprintf(
        request->text, REQUEST_BYTES_MAX,
        "%s %s HTTP/1.1\r\n"
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
        "%s"
        "\r\n",
        options.post_bytes ? "POST" : "GET", path, address, address, id_high, id_low,
        1764000000U + i / 8, i * 7 % 1000, session, token, agent, content);
    if (bytes <= 0 || bytes >= REQUEST_BYTES_MAX) {
        fail("cannot build a request", "longer than its buffer");
    }
    request->bytes = (size_t)bytes;
}

static void build_all(void)
{
    for (unsigned i = 0; i < REQUESTS_BUILT; i++) {
        build_request(&requests[i], i, "/");
    }
    build_request(&sleep_request, 0, "/sleep");
    post_body = malloc(options.post_bytes + 1);
    expected_body = malloc(options.body_bytes + HELLO_BYTES + 1);
    if (post_body == NULL || expected_body == NULL) {
        fail("cannot build the bodies", strerror(errno));
    }
    memset(post_body, 'x', options.post_bytes);
    for (size_t i = 0; i < options.body_bytes; i++) {
        expected_body[i] = (char)('a' + i % ALPHABET_BYTES);
    }
    if (options.post_bytes > 0) {
        snprintf(expected_body, HELLO_BYTES + 1, "%013zu", options.post_bytes);
    } else if (options.body_bytes == HELLO_BYTES) {
        memcpy(expected_body, "Hello, World!", HELLO_BYTES);
    }
    snprintf(length_text, sizeof length_text, "%zu", options.body_bytes);
}

static int connected_socket(void)
{
    int fd = socket(options.is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail("socket", strerror(errno));
    }
    int failed;
    if (options.is_tcp) {
        int on = 1;
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)atoi(options.address)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        failed = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
                 connect(fd, (struct sockaddr *)&address, sizeof address) < 0;
    } else {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strlen(options.address) >= sizeof address.sun_path) {
            fail(options.address, "longer than a socket's path may be");
        }
        memcpy(address.sun_path, options.address, strlen(options.address));
        failed = connect(fd, (struct sockaddr *)&address, sizeof address) < 0;
    }
    if (failed) {
        fail(options.address, strerror(errno));
    }
    return fd;
}

static void watch(struct connection *c, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) {
        fail("epoll_ctl", strerror(errno));
    }
}

static void open_connection(struct connection *c)
{
    c->fd = connected_socket();
    c->requests_sent = 0;
    c->waits_for_room = false;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void connect_all(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        fail("epoll_create1", strerror(errno));
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        open_connection(&connections[i]);
    }
}

/* Send as much of the request as the socket takes; watch for room while something is left. */
static void send_rest(struct connection *c)
{
    size_t total = c->request->bytes + options.post_bytes;
    while (c->unsent > 0) {
        size_t done = total - c->unsent;
        struct iovec parts[2];
        struct msghdr message = {.msg_iov = parts};
        if (done < c->request->bytes) {
            parts[message.msg_iovlen++] =
                (struct iovec){(char *)c->request->text + done, c->request->bytes - done};
            done = c->request->bytes;
        }
        if (done < total) {
            parts[message.msg_iovlen++] =
                (struct iovec){post_body + (done - c->request->bytes), total - done};
        }
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            break;
        }
        if (sent < 0) {
            fail("send", strerror(errno));
        }
        c->unsent -= (size_t)sent;
    }
    if ((c->unsent > 0) != c->waits_for_room) {
        c->waits_for_room = c->unsent > 0;
        watch(c, EPOLL_CTL_MOD, c->waits_for_room ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static bool is_sleeper(const struct connection *c)
{
    return options.has_sleeper && c == connections;
}

static void send_next(struct connection *c)
{
    if (c->fd < 0) {
        open_connection(c);
    }
    c->request = is_sleeper(c) ? &sleep_request : &requests[next_request++ % REQUESTS_BUILT];
    c->unsent = c->request->bytes + options.post_bytes;
    c->have = 0;
    c->head = 0;
    c->busy = true;
    c->requests_sent++;
    c->sent_ns = now_ns();
    send_rest(c);
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

/* Check the head and return its length, or 0 while it is incomplete. */
static size_t check_head(const struct connection *c)
{
    static const char status[] = "HTTP/1.1 200 ";
    const char *response = c->response;
    const char *blank = memmem(response, c->have, "\r\n\r\n", 4);
    if (blank == NULL) {
        if (c->have == RESPONSE_BYTES_MAX) {
            fail("wrong response", "its head does not end");
        }
        return 0;
    }
    if (memcmp(response, "HTTP/1.1 501 ", 13) == 0) {
        fail("not offered", "the application answered 501");
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
            has_length = has_length || is_field(line, end, "content-length:", length_text);
            if (options.reuse == 0 && is_field(line, end, "connection:", "close")) {
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
        fail("wrong response", "without the Content-Length that the application set");
    }
    return (size_t)(blank + 4 - response);
}

/* Check `bytes` of the body that begin at its offset `at`. */
static void check_body(const char *text, size_t at, size_t bytes)
{
    const size_t end_bytes = 64;
    if (at + bytes > options.body_bytes) {
        fail("wrong response", "its body is longer than its Content-Length");
    }
    if (bytes <= RESPONSE_BYTES_MAX) {
        if (memcmp(text, expected_body + at, bytes) != 0) {
            fail("wrong response", "its body is not what the application sent");
        }
    } else if (memcmp(text, expected_body + at, end_bytes) != 0 ||
               memcmp(text + bytes - end_bytes, expected_body + at + bytes - end_bytes,
                      end_bytes) != 0) {
        fail("wrong response", "its body is not what the application sent");
    }
}

/* True when the response is complete; ends the program when it is wrong. */
static bool receive(struct connection *c)
{
    bool in_head = c->head == 0;
    ssize_t received = in_head
                           ? recv(c->fd, c->response + c->have, RESPONSE_BYTES_MAX - c->have, 0)
                           : recv(c->fd, piece, PIECE_BYTES, 0);
    if (received < 0) {
        fail("recv", strerror(errno));
    }
    if (received == 0) {
        fail("wrong response", "the server closed a connection");
    }
    if (!c->busy) {
        fail("wrong response", "bytes without a request");
    }
    size_t before = c->have;
    c->have += (size_t)received;
    if (!in_head) {
        check_body(piece, before - c->head, (size_t)received);
    } else if ((c->head = check_head(c)) == 0) {
        return false;
    } else {
        check_body(c->response + c->head, 0, c->have - c->head);
    }
    return c->have == c->head + options.body_bytes;
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
    uint64_t max_ns;
    uint64_t elapsed_ns;
};

/* Of the window that has begun. */
static struct {
    uint64_t end_ns;
    uint64_t count;
    uint64_t cpu_ns;
} begun;

static void begin_window(uint64_t now, uint64_t count, uint64_t cpu_ns)
{
    begun.end_ns = now + UINT64_C(1000000) * WINDOW_MS;
    begun.count = count;
    begun.cpu_ns = cpu_ns;
}

/* `count` responses have come by now: end the window if it is long enough. */
static void count_window(uint64_t now, uint64_t count)
{
    if (now < begun.end_ns || count - begun.count < WINDOW_RESPONSES || processes_count == 0 ||
        windows_count == WINDOWS_MAX) {
        return;
    }
    uint64_t cpu_ns = server_cpu_ns();
    windows[windows_count++] = (struct window){count - begun.count, cpu_ns - begun.cpu_ns};
    begin_window(now, count, cpu_ns);
}

/* Run until `limit_ns` have passed or `limit` requests were sent, then until all are answered. */
static struct outcome run(uint64_t limit_ns, uint64_t limit)
{
    memset(histogram, 0, sizeof histogram);
    windows_count = 0;
    uint64_t start_ns = now_ns();
    begin_window(start_ns, 0, server_cpu_ns());
    uint64_t end_ns = start_ns + limit_ns;
    uint64_t heard_ns = start_ns;
    uint64_t sent = 0;
    uint64_t answered = 0;
    struct outcome outcome = {0};
    for (int i = 0; i < CONNECTIONS; i++) {
        send_next(&connections[i]);
        sent++;
    }
    while (answered < sent) {
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
            if (events[i].events & EPOLLOUT) {
                heard_ns = now_ns();
                send_rest(c);
            }
            if (!(events[i].events & ~(uint32_t)EPOLLOUT) || !receive(c)) {
                continue;
            }
            heard_ns = now_ns();
            answered++;
            c->busy = false;
            if (c->requests_sent == options.reuse) {
                close(c->fd);
                c->fd = -1;
            }
            if (!is_sleeper(c)) {
                uint64_t took_ns = heard_ns - c->sent_ns;
                count_latency(took_ns);
                outcome.count++;
                outcome.max_ns = took_ns > outcome.max_ns ? took_ns : outcome.max_ns;
                count_window(heard_ns, outcome.count);
            }
            if (sent < limit && heard_ns < end_ns) {
                send_next(c);
                sent++;
            }
        }
    }
    outcome.elapsed_ns = now_ns() - start_ns;
    return outcome;
}

/* False when the command line is not what the head of this file describes. */
static bool read_options(int argc, char **argv)
{
    if (argc < 4) {
        return false;
    }
    options.address = argv[1];
    options.seconds = atof(argv[2]);
    options.limit = strtoull(argv[3], NULL, 10);
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "--spin") == 0) {
            wait_ms = 0;
        } else if (strcmp(argv[i], "--tcp") == 0) {
            options.is_tcp = true;
        } else if (strcmp(argv[i], "--sleeper") == 0) {
            options.has_sleeper = true;
        } else if (i + 1 == argc) {
            return false;
        } else if (strcmp(argv[i], "--body") == 0) {
            options.body_bytes = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--post") == 0) {
            options.post_bytes = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--reuse") == 0) {
            options.reuse = (unsigned)strtoul(argv[++i], NULL, 10);
        } else {
            return false;
        }
    }
    return options.seconds > 0 && options.seconds <= 3600 && options.limit >= CONNECTIONS;
}

/* Wait for a line with the pids of the server's processes. */
static void read_processes(void)
{
    char line[PROCESSES_MAX * 12];
    if (fgets(line, sizeof line, stdin) == NULL) {
        fail("stdin", "closed before the start");
    }
    char *rest = line;
    for (char *word; (word = strtok_r(rest, " \n", &rest)) != NULL;) {
        if (processes_count == PROCESSES_MAX) {
            fail("the server", "has more processes than can be watched");
        }
        pid_t pid = (pid_t)atoi(word);
        if (pid <= 0) {
            fail("not a pid", word);
        }
        processes[processes_count++] = pid;
    }
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fprintf(stderr, "usage: client ADDRESS SECONDS REQUESTS [--spin] [--tcp] [--sleeper] "
                        "[--body BYTES] [--post BYTES] [--reuse N]\n");
        return 64;
    }
    build_all();
    connect_all();

    run(UINT64_C(1000000) * WARM_UP_MS, WARM_UP_REQUESTS);
    printf("warm\n");
    fflush(stdout);
    read_processes();

    struct outcome o = run((uint64_t)(options.seconds * 1e9), options.limit);
    printf("{\"count\": %" PRIu64 ", \"elapsed_ns\": %" PRIu64
           ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"windows\": [",
           o.count, o.elapsed_ns, percentile_us(o.count, 0.50), percentile_us(o.count, 0.99),
           (double)o.max_ns / 1000.0);
    for (unsigned i = 0; i < windows_count; i++) {
        printf("%s[%" PRIu64 ", %" PRIu64 "]", i ? ", " : "", windows[i].count, windows[i].cpu_ns);
    }
    puts("]}");
    return 0;
}
