# Makes this process and its children see a machine of their own on which Debian's packages are
# installed, whose server is started by the script that is inserted below; then waits until its
# standard input ends: with it everything ends that was started inside.
# $1: a folder; the rest: where the packages are unpacked.
set -eu
folder=$1
shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
for place in usr etc var; do
    lower=/$place
    for package in "$@"; do
        [ ! -d "$package/$place" ] || lower=$package/$place:$lower
    done
    mkdir "$folder/$place.upper" "$folder/$place.work"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$folder/$place.upper,workdir=$folder/$place.work" "/$place"
done
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t proc proc /proc

echo 'nameserver ::1' > /etc/resolv.conf
# whose mail it is
echo 'user:x:64030:64030::/var/home/user:/bin/sh' >> /etc/passwd
echo 'user:x:64030:' >> /etc/group
install -d -o 64030 -g 64030 /var/home/user

@SERVER@

echo ready
# a shell, since the first process of a namespace inherits orphans and has to wait for them
read -r _ || true
