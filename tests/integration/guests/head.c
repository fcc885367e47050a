/* A head for a pipe of datamover, as docs/spec/attach-abi.md has it: standard input goes in.
   usage: head DOOR */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct hello { char magic[8]; uint16_t version, place; uint32_t reserved; uint8_t token[16]; };
struct terms { char magic[8]; uint16_t version, status; uint32_t buffers, size, stride; uint64_t data, reserved; };
struct token { uint32_t index, used; uint64_t sequence; };

int main(int argc, char **argv) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int door = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (argc != 2) return 2;
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (connect(door, (void *)&address, sizeof address)) return 3;
    struct hello hello = { "DMATTACH", 1, 1, 0, { 0 } };
    memcpy(hello.magic, "DMATTACH", 8);
    if (send(door, &hello, sizeof hello, 0) != sizeof hello) return 4;

    union { char bytes[CMSG_SPACE(3 * sizeof(int))]; struct cmsghdr align; } control;
    struct { struct terms terms; char reason[200]; } answer;
    struct iovec part = { &answer, sizeof answer };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
                              .msg_control = &control, .msg_controllen = sizeof control };
    if (recvmsg(door, &message, 0) < (ssize_t)sizeof answer.terms || answer.terms.status) return 5;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (!rights || rights->cmsg_len != CMSG_LEN(3 * sizeof(int))) return 6;
    int given[3];
    memcpy(given, CMSG_DATA(rights), sizeof given);

    struct terms *terms = &answer.terms;
    size_t length = terms->data + (size_t)(terms->buffers - 1) * terms->stride + terms->size;
    char *memory = mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, given[0], 0);
    if (memory == MAP_FAILED) return 7;

    struct token token;
    uint64_t sent = 0, taken;
    while (read(given[1], &token, sizeof token) == sizeof token) {
        char *data = memory + terms->data + (size_t)token.index * terms->stride;
        ssize_t more;
        for (token.used = 0; token.used < terms->size; token.used += more)
            if ((more = read(0, data + token.used, terms->size - token.used)) <= 0) break;
        if (token.used && write(given[2], &token, sizeof token) != sizeof token) return 8;
        sent += token.used;
        if (token.used < terms->size) break;
    }
    struct token end = { 0xFFFFFFFF, 0, 0 };
    if (write(given[2], &end, sizeof end) != sizeof end) return 9;
    if (recv(door, &taken, sizeof taken, 0) != sizeof taken || taken != sent) return 10;
    return 0;
}
