#!/bin/busybox sh
# Process 1 of a virtual machine: mounts what programs expect, loads the network drivers, runs the
# guest program, and powers off. It judges nothing: a machine that ends without the guest's last
# line has failed.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns
for module in virtio_pci virtio_net vmxnet3 e1000e veth 8021q bonding bridge dummy tun wireguard; do
    # one that is built in is not found: a missing one fails the case that needs it
    modprobe -q "$module"
done
ulimit -n 65536
ip link set lo up
# of the kernel's command line: NAME=VALUE pairs for the programs' environment
for word in $(cat /proc/cmdline); do
    case $word in
    SIXGATE_*) export "${word?}" ;;
    esac
done
vm-guest
echo "vm-guest ended with $?"
poweroff -f
