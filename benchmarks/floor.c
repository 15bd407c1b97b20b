/* The floor: what epoll, recv and send alone cost for one request.
 *
 * Answers every request that ended with one fixed response and looks at nothing else: no parser, no
 * header, no application. No HTTP server that makes the same three system calls can be cheaper, so
 * a server's distance from this program is what its own code costs.
 *
 * Usage: floor ADDRESS [OPTION...]. Ends on SIGTERM. One request at a time per connection.
 *
 *   ADDRESS        a Unix socket's path, or with --tcp a port of 127.0.0.1
 *   --body BYTES   answer the alphabet over and over; without this it is Hello, World!
 *   --file PATH    send the body with sendfile(2) from this file, which holds those bytes
 *   --post BYTES   each request has a body of so many; it is read and thrown away, and the
 *                  response is their number in 13 digits
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS_PER_WAIT = 64,
    BUFFER_BYTES = 65536,
    HEAD_READ_BYTES = 16384,
    DESCRIPTORS_MAX = 16384,
    HELLO_BYTES = 13,
    ALPHABET_BYTES = 26,
};

static const uint32_t END_OF_HEAD = 0x0d0a0d0aU; /* CR LF CR LF */

static char buffer[BUFFER_BYTES];

static struct {
    uint32_t tail;    /* the last four bytes seen, so that a head may arrive in pieces */
    size_t to_read;   /* of the request's body */
    size_t unsent;    /* of the response, a file's bytes included */
    bool waits_for_room;
} connections[DESCRIPTORS_MAX];

/* What is sent from memory: everything, or with --file the head alone. */
static char *response;
static size_t response_bytes;
static size_t file_bytes;
static int file_fd = -1;
static size_t post_bytes;
static int epoll_fd;

static int fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    return 1;
}

static int watch(int fd, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.fd = fd};
    return epoll_ctl(epoll_fd, operation, fd, &event);
}

static int build_response(size_t body_bytes, const char *file)
{
    response = malloc(body_bytes + 128);
    if (response == NULL) {
        return fail("cannot allocate the response");
    }
    response_bytes = (size_t)sprintf(response,
                                     "HTTP/1.1 200 OK\r\n"
                                     "Content-Type: text/plain\r\n"
                                     "Content-Length: %zu\r\n"
                                     "\r\n",
                                     body_bytes);
    if (file != NULL) {
        file_bytes = body_bytes;
        file_fd = open(file, O_RDONLY | O_CLOEXEC);
        return file_fd < 0 ? fail(file) : 0;
    }
    char *body = response + response_bytes;
    if (post_bytes > 0) {
        sprintf(body, "%013zu", post_bytes);
    } else if (body_bytes == HELLO_BYTES) {
        memcpy(body, "Hello, World!", HELLO_BYTES);
    } else {
        for (size_t i = 0; i < body_bytes; i++) {
            body[i] = (char)('a' + i % ALPHABET_BYTES);
        }
    }
    response_bytes += body_bytes;
    return 0;
}

/* Send what the socket takes, and watch for room only while something is left. */
static void send_rest(int fd)
{
    size_t total = response_bytes + file_bytes;
    while (connections[fd].unsent > 0) {
        size_t done = total - connections[fd].unsent;
        ssize_t sent;
        if (done < response_bytes) {
            sent = send(fd, response + done, response_bytes - done,
                        MSG_NOSIGNAL | (file_bytes > 0 ? MSG_MORE : 0));
        } else {
            off_t offset = (off_t)(done - response_bytes);
            sent = sendfile(fd, file_fd, &offset, total - done);
        }
        if (sent < 0 && errno == EAGAIN) {
            break;
        }
        if (sent <= 0) {
            close(fd);
            return;
        }
        connections[fd].unsent -= (size_t)sent;
    }
    bool waits = connections[fd].unsent > 0;
    if (waits != connections[fd].waits_for_room) {
        connections[fd].waits_for_room = waits;
        watch(fd, EPOLL_CTL_MOD, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

/* True when `bytes` in the buffer end a head; what follows it is counted as the body's. */
static bool ends_head(int fd, size_t bytes)
{
    if (post_bytes > 0) {
        /* The client sends head and body in one call: its head is never split. */
        const char *blank = memmem(buffer, bytes, "\r\n\r\n", 4);
        if (blank == NULL) {
            return false;
        }
        connections[fd].to_read = post_bytes - (bytes - (size_t)(blank + 4 - buffer));
        return true;
    }
    uint32_t last = connections[fd].tail;
    for (size_t at = bytes > 4 ? bytes - 4 : 0; at < bytes; at++) {
        last = last << 8 | (unsigned char)buffer[at];
    }
    connections[fd].tail = last;
    return last == END_OF_HEAD;
}

static void answer(int fd)
{
    bool in_body = connections[fd].to_read > 0;
    ssize_t received = recv(fd, buffer, in_body ? BUFFER_BYTES : HEAD_READ_BYTES, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (received <= 0) {
        close(fd);
        return;
    }
    if (in_body) {
        connections[fd].to_read -= (size_t)received;
    } else if (!ends_head(fd, (size_t)received)) {
        return;
    }
    if (connections[fd].to_read == 0) {
        connections[fd].unsent = response_bytes + file_bytes;
        send_rest(fd);
    }
}

static int listening_socket(const char *text, bool is_tcp)
{
    int fd = socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int failed;
    if (is_tcp) {
        int on = 1;
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)atoi(text)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        failed = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
                 setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
                 bind(fd, (struct sockaddr *)&address, sizeof address) < 0;
    } else {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strlen(text) >= sizeof address.sun_path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(address.sun_path, text, strlen(text));
        failed = bind(fd, (struct sockaddr *)&address, sizeof address) < 0;
    }
    return failed || listen(fd, 1024) < 0 ? -1 : fd;
}

static void accept_one(int listener_fd)
{
    int fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (fd >= DESCRIPTORS_MAX || watch(fd, EPOLL_CTL_ADD, EPOLLIN) < 0) {
        close(fd);
        return;
    }
    memset(&connections[fd], 0, sizeof connections[fd]);
}

int main(int argc, char **argv)
{
    bool is_tcp = false;
    size_t body_bytes = HELLO_BYTES;
    const char *file = NULL;
    bool understood = argc >= 2;
    for (int i = 2; i < argc && understood; i++) {
        if (strcmp(argv[i], "--tcp") == 0) {
            is_tcp = true;
        } else if (i + 1 == argc) {
            understood = false;
        } else if (strcmp(argv[i], "--body") == 0) {
            body_bytes = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--post") == 0) {
            post_bytes = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--file") == 0) {
            file = argv[++i];
        } else {
            understood = false;
        }
    }
    if (!understood) {
        fprintf(stderr, "usage: floor ADDRESS [--tcp] [--body BYTES] [--file PATH] [--post BYTES]\n");
        return 64;
    }
    if (build_response(body_bytes, file) != 0) {
        return 1;
    }
    int listener_fd = listening_socket(argv[1], is_tcp);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener_fd < 0 || epoll_fd < 0 || watch(listener_fd, EPOLL_CTL_ADD, EPOLLIN) < 0) {
        return fail(argv[1]);
    }

    struct epoll_event events[EVENTS_PER_WAIT];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        if (count < 0 && errno != EINTR) {
            return fail("epoll_wait");
        }
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener_fd) {
                accept_one(fd);
            } else if (events[i].events & EPOLLOUT) {
                send_rest(fd);
            } else {
                answer(fd);
            }
        }
    }
}
