//go:build !windows && !darwin

package main

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>

// Setting a property takes two functions of a library that GLFW has loaded, and that our program is not linked to.
static void set_user_time(void *display, unsigned long window) {
	void *x11 = dlopen("libX11.so.6", RTLD_LAZY | RTLD_NOLOAD);
	if (!x11) return;
	unsigned long (*atom)(void *, const char *, int) = dlsym(x11, "XInternAtom");
	int (*change)(void *, unsigned long, unsigned long, unsigned long, int, int, const unsigned char *, int) = dlsym(x11, "XChangeProperty");
	if (atom && change) {
		unsigned long never = 0, cardinal = 6;
		change(display, window, atom(display, "_NET_WM_USER_TIME", 0), cardinal, 32, 0, (const unsigned char *)&never, 1);
	}
	dlclose(x11);
}
*/
import "C"

import (
	"unsafe"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver"
	"github.com/go-gl/glfw/v3.4/glfw"
)

// leaveFocus tells an X window manager that nobody asked for this window: a user time of 0 means that it must not get
// the focus when it appears (Extended Window Manager Hints, _NET_WM_USER_TIME). Under Wayland no window gets it unasked.
func leaveFocus(w fyne.Window) {
	native, ok := w.(driver.NativeWindow)
	if !ok {
		return
	}
	native.RunNative(func(context any) {
		if x, ok := context.(driver.X11WindowContext); ok && x.WindowHandle != 0 {
			C.set_user_time(unsafe.Pointer(glfw.GetX11Display()), C.ulong(x.WindowHandle))
		}
	})
}
