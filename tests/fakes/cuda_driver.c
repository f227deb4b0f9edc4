/* A CUDA driver that we answer for: a whole GPU and a MIG slice, as libcuda would describe them.
 *
 * FAKE_CUDA_COUNT is how many of the two it has; FAKE_CUDA_FAILS, such as "cuInit=999", is a
 * function that fails and its error code. Compiled with -DOLD it is a driver that is too old for
 * cuDeviceGetUuid_v2 and cuGetErrorName. It has no function that makes a context, so a reader that
 * wants one finds it missing. */

#include <stdlib.h>
#include <string.h>

typedef struct {
    char bytes[16];
} CUuuid;

static const struct {
    const char *name;
    CUuuid uuid;
    int sms, l2_bytes;
    size_t memory_bytes;
} DEVICES[] = {
    {"Invented GPU 80GB HBM3",
     {{0x00, 0x01, 0x7f, (char)0x80, (char)0xff, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
     132, 50 << 20, (size_t)80 << 30},
    {"Invented GPU 80GB HBM3 MIG 1g.10gb",
     {{(char)0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
     16, 6 << 20, ((size_t)10 << 30) - (200 << 20)},
};

/* A handle is no index, and a function that is handed an index in its place refuses it. */
enum { FIRST_HANDLE = 40, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_DEVICE = 101 };

static int initialized;

static int refusal(const char *function) {
    const char *fails = getenv("FAKE_CUDA_FAILS");
    size_t length = strlen(function);
    if (fails && strncmp(fails, function, length) == 0 && fails[length] == '=')
        return atoi(fails + length + 1);
    return 0;
}

static int count(void) {
    const char *told = getenv("FAKE_CUDA_COUNT");
    return told ? atoi(told) : 2;
}

static int of_device(const char *function, int handle) {
    if (!initialized)
        return NOT_INITIALIZED;
    if (handle < FIRST_HANDLE || handle >= FIRST_HANDLE + count())
        return INVALID_DEVICE;
    return refusal(function);
}

int cuInit(unsigned flags) {
    int code = flags ? INVALID_VALUE : refusal("cuInit");
    initialized = code == 0;
    return code;
}

int cuDriverGetVersion(int *version) {
    *version = 12080;
    return refusal("cuDriverGetVersion");
}

int cuDeviceGetCount(int *found) {
    *found = count();
    return initialized ? refusal("cuDeviceGetCount") : NOT_INITIALIZED;
}

int cuDeviceGet(int *handle, int index) {
    *handle = FIRST_HANDLE + index;
    return of_device("cuDeviceGet", *handle);
}

int cuDeviceGetName(char *name, int length, int handle) {
    int code = of_device("cuDeviceGetName", handle);
    if (!code) {
        strncpy(name, DEVICES[handle - FIRST_HANDLE].name, length - 1);
        name[length - 1] = 0;
    }
    return code;
}

/* A slice has the UUID of its whole GPU here, and its own in the second version. */
int cuDeviceGetUuid(CUuuid *uuid, int handle) {
    int code = of_device("cuDeviceGetUuid", handle);
    if (!code)
        *uuid = DEVICES[0].uuid;
    return code;
}

#ifndef OLD
int cuDeviceGetUuid_v2(CUuuid *uuid, int handle) {
    int code = of_device("cuDeviceGetUuid_v2", handle);
    if (!code)
        *uuid = DEVICES[handle - FIRST_HANDLE].uuid;
    return code;
}

int cuGetErrorName(int code, const char **name) {
    *name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 999 ? "CUDA_ERROR_UNKNOWN" : NULL;
    return *name ? 0 : INVALID_VALUE;
}

int cuGetErrorString(int code, const char **text) {
    *text = code == 100 ? "no CUDA-capable device is detected" : code == 999 ? "unknown error" : NULL;
    return *text ? 0 : INVALID_VALUE;
}
#endif

int cuDeviceTotalMem_v2(size_t *bytes, int handle) {
    int code = of_device("cuDeviceTotalMem_v2", handle);
    if (!code)
        *bytes = DEVICES[handle - FIRST_HANDLE].memory_bytes;
    return code;
}

int cuDeviceGetAttribute(int *value, int which, int handle) {
    int code = of_device("cuDeviceGetAttribute", handle);
    if (code)
        return code;
    switch (which) {
    case 16: *value = DEVICES[handle - FIRST_HANDLE].sms; return 0;
    case 38: *value = DEVICES[handle - FIRST_HANDLE].l2_bytes; return 0;
    case 75: *value = 9; return 0;
    case 76: *value = 0; return 0;
    default: return INVALID_VALUE;
    }
}
