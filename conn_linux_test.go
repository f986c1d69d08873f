package runpod

import (
	"net"
	"syscall"
	"testing"
)

// The system notices a dead peer within a minute.
func TestConnectionsNoticeADeadPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := newConnCounter().counted((&net.Dialer{KeepAlive: -1}).DialContext)
	conn, err := dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*countedConn).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		get := func(level, option int) int {
			value, err := syscall.GetsockoptInt(int(fd), level, option)
			if err != nil {
				t.Error(err)
			}
			return value
		}
		idle, interval, count := get(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE), get(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL), get(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)
		if on := get(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); on == 0 || idle+interval*count > 60 {
			t.Errorf("keep-alive %d, after %d s every %d s, %d times", on, idle, interval, count)
		}
	})
}
