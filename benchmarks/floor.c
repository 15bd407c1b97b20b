/* The floor: what epoll, recv and send alone cost for one request.
 *
 * Answers every head that ended with one fixed response and looks at nothing else: no parser, no
 * header, no application. No HTTP server that makes the same three system calls can be cheaper, so
 * a server's distance from this program is what its own code costs.
 *
 * Usage: floor SOCKET. Ends on SIGTERM. Requests have no body; one at a time per connection.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64, BUFFER_BYTES = 16384, DESCRIPTORS_MAX = 1024 };

static const char RESPONSE[] =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 13\r\n"
    "\r\n"
    "Hello, World!";

static const uint32_t END_OF_HEAD = 0x0d0a0d0aU; /* CR LF CR LF */

static char buffer[BUFFER_BYTES];

/* The last four bytes seen on each connection, so that a head may arrive in pieces. */
static uint32_t tail[DESCRIPTORS_MAX];

static int fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    return 1;
}

static int watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void answer(int fd)
{
    ssize_t received = recv(fd, buffer, sizeof buffer, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (received <= 0) {
        close(fd);
        return;
    }
    uint32_t last = tail[fd];
    for (ssize_t at = received > 4 ? received - 4 : 0; at < received; at++) {
        last = last << 8 | (unsigned char)buffer[at];
    }
    tail[fd] = last;
    if (last != END_OF_HEAD) {
        return;
    }
    /* A socket buffer is far larger than the one response that can be outstanding. */
    if (send(fd, RESPONSE, sizeof RESPONSE - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof RESPONSE - 1)) {
        close(fd);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: floor SOCKET\n");
        return 64;
    }
    memcpy(address.sun_path, argv[1], strlen(argv[1]));

    int listener_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener_fd < 0 || epoll_fd < 0) {
        return fail("cannot create a descriptor");
    }
    if (bind(listener_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener_fd, 128) < 0 || watch(epoll_fd, listener_fd) < 0) {
        return fail(argv[1]);
    }

    struct epoll_event events[EVENTS_PER_WAIT];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        if (count < 0 && errno != EINTR) {
            return fail("epoll_wait");
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener_fd) {
                answer(events[i].data.fd);
                continue;
            }
            int fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) {
                continue;
            }
            if (fd >= DESCRIPTORS_MAX || watch(epoll_fd, fd) < 0) {
                close(fd);
                continue;
            }
            tail[fd] = 0;
        }
    }
}
